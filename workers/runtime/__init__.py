"""What every pool does: its process, its calls, its health."""
