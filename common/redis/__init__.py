"""One server: its URL, its primary, its connections, and what it refuses."""
