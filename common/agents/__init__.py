"""What an agent is, and how its file is read."""
