"""The state of a call from its event log: transcript, reply state, end, and effects that must not happen twice."""
