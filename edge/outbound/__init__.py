"""Outbound calls: their states, their queue, the dialer, and the limits of destinations and of the account."""
