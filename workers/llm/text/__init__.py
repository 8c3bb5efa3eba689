"""Processes a model's text for speech synthesis: filters what is not speech, and cuts it into clauses."""
