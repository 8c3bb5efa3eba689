"""Is somebody speaking, and is the turn over?"""
