"""Stored results of a sweep's analyses, with their tables and figures."""
