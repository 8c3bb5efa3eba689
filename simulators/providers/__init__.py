"""Stand-ins for the vendors, with their documented protocols over real sockets; they share no code with the adapters.

Transcripts and answers are scripted, voices are tones.  Protocol, timing and faults are real.
"""
