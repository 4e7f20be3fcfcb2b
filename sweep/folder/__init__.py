"""The folder of a sweep: its paths, lock, snapshot, control requests, status and provenance."""
