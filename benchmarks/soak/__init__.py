"""Runs real processes under changing calls for a long time, and looks for growth and leaks."""
