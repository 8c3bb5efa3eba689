"""Audio without I/O: G.711 and frames."""
