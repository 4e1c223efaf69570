"""The hand: orders, the account, and the one loop that turns proposals into journalled, judged, submitted orders.

The same kernel runs in every mode; what differs stands behind the protocols of `execution.ports`. It never sees market
data but through them, never sends what the judge did not mint, and never sends what the journal does not hold.
"""
