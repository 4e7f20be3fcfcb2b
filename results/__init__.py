"""WHAT came out: the ledger, tidy frames, and what is made of them."""
