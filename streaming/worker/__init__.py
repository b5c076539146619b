"""The speed layer: from a topic's bytes to minute rollups in Postgres, in columns all the way.

records -> decode -> validate -> enrich -> verdict (duplicate, late, counted) -> roll up -> commit -> publish
"""
