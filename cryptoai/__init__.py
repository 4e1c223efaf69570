"""CryptoAI: trading bots that learn, run under a judge that does not.

The public surface is the `cryptoai` command and the packages below; nothing is re-exported here so
that importing one layer never loads another.
"""

__version__ = "0.1.0"
