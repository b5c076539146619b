"""Sends events that keep their contract: check -> encode -> send, until each is acknowledged or failed."""
