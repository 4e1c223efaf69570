"""Clients of services that backtests may use; imported by composition roots only."""
