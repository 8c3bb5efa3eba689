"""The code that the edge and the workers share: messages, bus, call store, settings.  Imports neither of them."""
