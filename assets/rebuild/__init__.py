"""Minute rollups of chosen hours, made again from the lake while the worker goes on."""
