"""A model's text on its way to a voice: what is speech, and where it is cut."""
