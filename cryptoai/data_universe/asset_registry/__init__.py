"""Which instruments exist, with the venue's own tick, step, minimum and fees."""
