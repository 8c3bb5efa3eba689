"""Everything specific to Vobiz: stream protocol, XML, signatures, webhooks, hangup causes, REST API."""
