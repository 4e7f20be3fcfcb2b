"""The spec of a sweep: its models, and its TOML files."""
