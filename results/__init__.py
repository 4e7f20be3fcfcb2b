"""The results of a sweep: the ledger, data frames, metrics, tables, figures and reports."""
