"""What should be done, as pure functions of what was seen: no cluster, no clock, no side effect."""
