"""Counts what a call costs instead of timing it: the guard of CI (docs/testing.md#counted-not-timed)."""
