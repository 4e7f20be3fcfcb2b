"""Optimizers and learning-rate schedulers by name, their signatures, plug-ins and validation."""
