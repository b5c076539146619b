"""What the batch layer may do with tables that it doesn't own."""

from streamgauge.stores.ddl import BATCH, Function
from streamgauge.stores.postgres import SCHEMA

DROP_OLD = Function(
    "drop_old",
    # a text, so that no other schema's table can be named
    "hypertable text, before timestamp with time zone",
    "bigint",
    f"SELECT count(*) FROM public.drop_chunks(format('%I.%I', '{SCHEMA}', hypertable)::regclass, before)",
    (BATCH,),
)
"""Drops the chunks that end before a time, and says how many: only a hypertable's owner may, and that is the
administrator, whose login no part of the batch layer has."""
