"""Texts about the market: read with distrust, classified by measured weights, turned into numbers with a time."""
