"""Packs as Ray Tune trials: the cluster, its nodes, the trials, and their reports as ledger rows."""
