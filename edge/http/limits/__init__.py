"""Limits on what one peer may hold, send and get wrong before its connection is a media stream."""
