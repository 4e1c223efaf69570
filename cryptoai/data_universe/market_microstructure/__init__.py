"""Trades and order books: raw captures in, exact integer events and a fast book out."""
