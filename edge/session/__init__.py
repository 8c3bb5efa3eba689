"""The calls of an edge: lifecycle, turns, what the caller heard, admission, and recovery after failures."""
