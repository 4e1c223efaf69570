"""The judge: limits, order pricing, the kill switch, and the only mint of orders that a venue takes.

Deterministic and free of market data: it sees messages and configuration, nothing else. What it cannot judge it denies.
"""
