"""The STT worker: a call's audio in, the caller's turns out."""
