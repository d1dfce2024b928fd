"""Training: the helper around a visible loop, checkpoints, and the search for good settings."""
