"""State of a stream as the stores have it: accounts, dead letters, alerts. Who changes that state is elsewhere."""
