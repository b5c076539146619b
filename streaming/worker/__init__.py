"""The speed layer: from a topic's bytes to minute rollups in Postgres, in columns all the way.

records -> decode -> validate -> verdict (duplicate, late, counted) -> enrich -> roll up -> commit -> publish
"""
