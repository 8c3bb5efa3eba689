"""The calls of this edge: whose turn it is, what is heard, how a call ends."""
