"""Alerts: what is wrong, reported once, until it is right again."""
