"""Measures answer times with the whole stack: real processes, and scripted vendors with fixed latencies."""
