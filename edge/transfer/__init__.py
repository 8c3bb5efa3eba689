"""Transfers of callers to persons: their states, the orders of the LLM worker, and the briefing of the person."""
