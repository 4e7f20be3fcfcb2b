"""The study that this project repeats: its claims, and its own tables, figures and article."""
