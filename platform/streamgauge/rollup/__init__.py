"""Rollups: what minutes hold, how they merge to windows and top lists, and the tables that events are enriched from.
Storage is elsewhere.
"""
