"""The LLM pool: user turns in, clauses of the agent's reply out."""
