"""Parts that every STT engine shares: the socket shell, the audio feed, the event queue."""
