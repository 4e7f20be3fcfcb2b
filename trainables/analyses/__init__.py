"""Measurements of a run's insides: gradients, learning-rate range test, loss landscape, feature maps."""
