"""Derivatives data: funding, mark, open interest, liquidations, positioning, candles and the basis between them."""
