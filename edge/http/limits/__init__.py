"""What one peer may hold, send and get wrong before it is a call."""
