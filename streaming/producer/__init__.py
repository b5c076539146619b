"""Sends events that keep their contract: check -> encode -> send, each until the broker has acknowledged it or said why not."""
