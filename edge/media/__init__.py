"""The media path of one stream: WebSocket, decoding, uplink to the bus, playout to the caller, and their clock."""
