"""The spec of a sweep: a TOML file, checked."""
