"""The agents that calls get: which version of their files, pinned versions, and the webhook `on_call`."""
