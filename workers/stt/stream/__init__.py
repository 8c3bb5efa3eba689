"""What recognisers have in common: the socket, the audio that is fed, the events that come."""
