"""How a pack is trained: data, LeNet-5, optimizers, schedulers, the loop, checkpoints, and the Ray Tune adapter."""
