"""Runs the whole system on one machine as plain processes, for `make run`, `make demo` and the end-to-end tests."""
