"""Redis as production wants it: who may do what, and how it keeps what it has."""
