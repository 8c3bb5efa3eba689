"""One Redis server: its URL, its primary, its connections, and the answers by which it refuses."""
