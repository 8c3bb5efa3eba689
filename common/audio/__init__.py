"""Audio without I/O: G.711 and its 20 ms frames."""
