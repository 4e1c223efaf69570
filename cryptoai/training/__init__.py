"""The one Trainer, its three stages, and the bundle that they end in."""
