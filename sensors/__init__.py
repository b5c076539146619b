"""Dagster sensors: the speed layer observed, late data, freshness alerts, run failures."""
