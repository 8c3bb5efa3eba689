"""The mind: what the caller said in, what to say out."""
