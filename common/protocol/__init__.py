"""What travels between processes: messages, their bytes, and the names of the keys that they stand in."""
