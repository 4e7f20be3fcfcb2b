"""How a pack is trained: data, models, optimizers, schedulers, the loop, checkpoints, and the Ray Tune adapter."""
