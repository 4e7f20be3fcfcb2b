"""The report as a live page on this machine: its curves grow while the sweep trains."""
