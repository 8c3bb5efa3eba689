"""Stand-ins for the vendors, on their documented wire, over real sockets; they share no code with the adapters.

Nothing here understands or thinks: transcripts and answers are scripted, voices are tones.  What is real is the
protocol, the timing and the faults.
"""
