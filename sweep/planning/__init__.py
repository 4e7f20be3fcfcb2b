"""Packs, and the choice of pack size and threads."""
