"""Runs in packs, and the pack size of the shortest plan."""
