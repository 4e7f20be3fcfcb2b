"""The analyses of a sweep's runs: gradients, range tests, trajectories, activations, and the whole study."""
