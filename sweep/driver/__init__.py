"""What `sweep run` and `sweep resume` do: what is left, the pack size, and the outputs."""
