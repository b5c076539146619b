"""Anomalies of many series at once: what is expected of a minute, how far off it may be, and what lies outside."""
