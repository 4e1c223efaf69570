"""From a cluster's events to plans carried out: thin, because what to do is decided in `operators.plans`."""
