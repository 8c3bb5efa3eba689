"""Admission: refuses new calls where they would harm the calls in progress, and gives up calls that no worker takes.

reservations   capacity kept from `/answer` until the stream arrives
overload       an event loop that is late takes no new call
pool_watch     no new call while a worker pool has no free member; `unserved` ends calls that no worker takes
redis_health   metrics of each Redis server

Limits on single peers and requests are in edge/http/limits and edge/media/stream_pace.py.
"""
