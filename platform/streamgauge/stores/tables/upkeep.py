"""What the batch layer may do with tables that it doesn't own."""

from streamgauge.stores.ddl import Function
from streamgauge.stores.postgres import SCHEMA

DROP_OLD = Function(
    "drop_old",
    "upkeep",
    # texts, so that no other schema's table can be named
    "old_table text, time_column text, before timestamp with time zone",
    "bigint",
    f"""
DECLARE gone bigint;
BEGIN
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
    EXECUTE 'SELECT count(*) FROM public.drop_chunks($1::regclass, $2)'
      INTO gone USING format('%I.%I', '{SCHEMA}', old_table), before;
  ELSE
    EXECUTE format('DELETE FROM %I.%I WHERE %I < $1', '{SCHEMA}', old_table, time_column) USING before;
    GET DIAGNOSTICS gone = ROW_COUNT;
  END IF;
  RETURN gone;
END""",
)
"""Drops the chunks that end before a time, or deletes the rows before it where Postgres has no TimescaleDB, and returns
how many: only a table's owner may, and that is the administrator, whose login no part of the batch layer has."""
