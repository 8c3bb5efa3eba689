"""Converts audio as servers send it to telephone audio."""
