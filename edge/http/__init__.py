"""The edge's HTTP server: Vobiz's webhooks, the REST API, and the limits on what one peer may hold and send."""
