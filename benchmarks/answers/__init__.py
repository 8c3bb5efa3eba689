"""What a caller waits for, with the whole stack: real processes, scripted vendors with fixed latencies."""
