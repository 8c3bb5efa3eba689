"""Configuration of Redis for production: its users and their rights, and its persistence."""
