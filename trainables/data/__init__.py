"""CIFAR-100 and synthetic data: sources, cache, splits and augmentation."""
