"""LeNet-5, and the stacked parameters of K models."""
