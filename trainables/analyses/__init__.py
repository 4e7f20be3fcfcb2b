"""Measurements on a trained or training run: gradients, learning-rate range test, loss landscape, feature maps."""
