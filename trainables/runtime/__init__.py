"""The training process: devices, memory, seeds, signals and injected faults."""
