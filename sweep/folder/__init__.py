"""The folder of a sweep: paths, lease, copy in the storage, control requests, status and provenance."""
