"""Alerts: what is wrong, told once, until it is right again."""
