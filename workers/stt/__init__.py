"""The ears: a call's audio in, what the caller said out."""
