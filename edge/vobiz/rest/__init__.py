"""The REST API of Vobiz: calls, applications, numbers, records.  `client.VobizClient` is the door."""
