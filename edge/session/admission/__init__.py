"""Who is turned away so that the calls in progress are well.

promises    a place is kept from `/answer` until the stream comes
shedding    an event loop that is late takes no new call
failures    strangers who fail too often get 429
half_open   connections that say nothing are closed
connections all that are no stream, and what becomes of those that do not read
request_size, stream_pace  how much one request, and one stream, may bring
"""
