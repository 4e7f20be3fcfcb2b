"""The processes of a command: the supervisor, and signals."""
