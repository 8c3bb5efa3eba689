"""All that is Vobiz's, and nothing else: its stream, XML, signatures, webhooks, causes, REST API."""
