"""The words of CryptoAI: messages, exact money, time, errors, configuration, the journal's format.

Every package speaks them; this one imports nothing but the standard library, pydantic and structlog.
"""
