"""The whole system on one machine, as plain processes: `make run`, `make demo`, and the end-to-end tests."""
