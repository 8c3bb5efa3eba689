"""The runtime of every pool: its process, its calls, its health."""
