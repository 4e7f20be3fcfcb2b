"""The process that trains: devices, memory, seeds, signals and injected faults."""
