"""A pack of runs in training: the loop, the steps, batches, checkpoints and weight snapshots."""
