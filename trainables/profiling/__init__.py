"""The time of a training step and the share of a GPU that a pack needs."""
