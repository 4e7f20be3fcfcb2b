"""The ledger (one SQLite file per sweep), and its content as data frames and arrays."""
