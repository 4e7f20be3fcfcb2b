"""Measurements: each is a command of its own, ``python -m benchmarks.NAME``."""
