"""The kinds of tools: one module for each."""
