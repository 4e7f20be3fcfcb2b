"""Pure functions on arrays: intervals, convergence, stability, comparison, profiles, gradients, range tests."""
