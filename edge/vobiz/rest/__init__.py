"""The REST API of Vobiz: calls, applications, numbers, records.  Use `client.VobizClient`; see docs/vobiz-client.md."""
