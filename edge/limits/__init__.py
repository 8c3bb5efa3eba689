"""Who is turned away so that the calls in progress are well.

promises    a place is kept from `/answer` until the stream comes
shedding    an event loop that is late takes no new call
failures    strangers who fail too often get 429
half_open   connections that say nothing are closed
"""
