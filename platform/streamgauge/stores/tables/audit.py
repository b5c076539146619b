"""The audit log. Nobody has the right to write the table: entries come by the function alone."""

from streamgauge.stores.ddl import TIME, Column, Function, Index, Table

APPEND_LOCK = 0x5347_4155_4449_54
"""Any number that no other lock has. Entries of two transactions at once would follow the same one."""

TABLES: tuple[Table, ...] = (
    Table(
        "audit_log",
        "audit",
        (
            Column("number", "bigint"),
            Column("at", TIME),
            Column("action", "text"),
            Column("subject", "text"),
            # As text, because the digest covers its bytes.
            Column("body", "text"),
            Column("digest", "bytea"),
        ),
        ("number",),
        indexes=(Index("audit_log_at", ("at",)),),
    ),
)

APPEND = Function(
    "audit_append",
    "audit",
    "event jsonb",
    "bigint",
    f"""
DECLARE
  latest record;
  moment timestamp with time zone;
  following bigint;
  entry text;
BEGIN
  PERFORM pg_advisory_xact_lock({APPEND_LOCK});
  moment := clock_timestamp();
  SELECT number, digest INTO latest FROM audit_log ORDER BY number DESC LIMIT 1;
  following := coalesce(latest.number, 0) + 1;
  -- the fields of the log itself stand over what a caller gives under their names
  entry := (event || jsonb_build_object(
    'number', following,
    'at', to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'login', session_user
  ))::text;
  INSERT INTO audit_log (number, at, action, subject, body, digest) VALUES (
    following, moment, event->>'action', event->>'subject', entry,
    sha256(coalesce(latest.digest, decode(repeat('00', 32), 'hex')) || convert_to(entry, 'UTF8'))
  );
  RETURN following;
END""",
)
"""Appends an act and returns its number. The lock is held until the transaction ends, so that numbers have no gap."""
