"""The processes of a command: signals, and the supervisor process."""
