"""Kills real processes under live calls and measures what the callers hear: `python -m benchmarks.chaos --help`."""
