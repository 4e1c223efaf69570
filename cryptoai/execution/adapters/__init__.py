"""Execution's hands to the outside: the inference server and, later, real venues."""
