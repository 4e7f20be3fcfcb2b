"""Tables of a sweep, and their file formats."""
