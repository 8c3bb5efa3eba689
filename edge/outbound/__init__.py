"""Calls that we place: their states, their queue, their limits."""
