"""Kill real processes under live calls, and hear what the callers hear.  `python -m benchmarks.chaos --help`."""
