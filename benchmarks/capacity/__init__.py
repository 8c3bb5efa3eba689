"""Plans deployments from measured constants: `python -m benchmarks.capacity`."""
