"""Numbers for people: the HTTP API and the live page."""
