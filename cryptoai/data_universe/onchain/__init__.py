"""On-chain facts: what is measured, who may tell it, and from when on it may be used."""
