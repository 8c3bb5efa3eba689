"""The protocol between processes: messages, their encoding, and the names of Redis keys."""
