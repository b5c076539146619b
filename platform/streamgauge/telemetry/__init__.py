"""Telemetry: metrics, logs and traces, each name in one place. Nothing here decides what is well or not."""
