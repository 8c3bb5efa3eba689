"""The TTS pool: clauses of the agent's reply in, 20 ms mu-law frames out."""
