"""One call, told from its events: transcript, reply state, end, and effects that must not happen twice."""
