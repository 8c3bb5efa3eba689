"""Webhooks, the REST API and the server that both are on."""
