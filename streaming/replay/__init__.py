"""Data sets into streams: read -> map -> check -> shift in time -> send in the order of event time."""
