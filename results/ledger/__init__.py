"""The record of a sweep in SQLite, and the same as frames and arrays."""
