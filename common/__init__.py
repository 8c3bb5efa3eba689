"""What the edge and the workers share: messages, bus, ledger, settings.  Imports neither of them."""
