"""The media stream of one call: the socket, the caller's audio in, the agent's audio out."""
