"""A simulated Vobiz carrier: REST API, outbound and inbound calls, XML, webhooks, media streams, and their faults."""
