"""Stored captures of a sweep's analyses, with their tables and figures."""
