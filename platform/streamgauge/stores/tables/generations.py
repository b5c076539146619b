"""Generations of rollups: which there are, how far each is filled, and what the batch layer may do with them."""

from streamgauge.contract.model import MINUTES, TOP_MINUTES
from streamgauge.stores.ddl import TIME, Column, Function, Table
from streamgauge.stores.postgres import SCHEMA
from streamgauge.stores.tables.batch import ROLLUPS, TOPS
from streamgauge.stores.tables.windows import WINDOWS

GRACE = "7 days"
"""How long the tables of a generation that was replaced can still be read."""

TABLES: tuple[Table, ...] = (
    # One that is neither current nor retired is being filled. The first of a stream has no row until it is replaced.
    Table(
        "rollup_generations",
        "contracts",
        (
            Column("stream", "text"),
            Column("generation", "integer"),
            Column("fingerprint", "text"),
            Column("contract", "text"),
            Column("asked_at", TIME, default="now()"),
            Column("current_since", TIME, null=True),
            Column("retired_at", TIME, null=True),
            Column("dropped_at", TIME, null=True),
        ),
        ("stream", "generation"),
    ),
    # The records before these positions are in all minutes that were made of a generation that is being filled.
    Table(
        "generation_positions",
        "generations",
        (
            Column("stream", "text"),
            Column("generation", "integer"),
            Column("partition", "integer"),
            Column("position", "bigint"),
        ),
        ("stream", "generation", "partition"),
    ),
    # The hours of event time that a generation is made of. `built_at` is that of the facts that its rollups are from.
    Table(
        "generation_hours",
        "generations",
        (
            Column("stream", "text"),
            Column("generation", "integer"),
            Column("hour", TIME),
            Column("minutes", "boolean", default="false"),
            Column("rolled", "boolean", default="false"),
            Column("built_at", TIME, null=True),
        ),
        ("stream", "generation", "hour"),
    ),
)

_TABLES = (MINUTES, TOP_MINUTES, *ROLLUPS.values(), TOPS)


def _listed(names: tuple[str, ...]) -> str:
    return f"ARRAY[{', '.join(repr(n) for n in names)}]"


TAKE_UP = Function(
    "take_up_generation",
    "generations",
    "of_stream text, next_generation integer",
    "integer",
    f"""
DECLARE
  following record;
  present record;
  suffix text;
BEGIN
  SELECT * INTO following FROM rollup_generations WHERE stream = of_stream AND generation = next_generation
    AND current_since IS NULL AND retired_at IS NULL FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no generation % of % is being filled', next_generation, of_stream;
  END IF;
  SELECT * INTO STRICT present FROM applied_contracts WHERE stream = of_stream FOR UPDATE;
  INSERT INTO rollup_generations
    (stream, generation, fingerprint, contract, asked_at, current_since, retired_at)
    VALUES (of_stream, present.generation, present.fingerprint, present.contract, present.first_applied_at,
      present.first_applied_at, now())
    ON CONFLICT (stream, generation) DO UPDATE SET retired_at = excluded.retired_at;
  UPDATE rollup_generations SET current_since = now() WHERE stream = of_stream AND generation = next_generation;
  UPDATE applied_contracts SET generation = next_generation, fingerprint = following.fingerprint,
    contract = following.contract WHERE stream = of_stream;
  FOREACH suffix IN ARRAY {_listed(WINDOWS)} LOOP
    EXECUTE format('ALTER VIEW %I.%I RENAME TO %I', '{SCHEMA}', format('%s_%s', of_stream, suffix),
      format('%s_g%s_%s', of_stream, present.generation, suffix));
    EXECUTE format('ALTER VIEW %I.%I RENAME TO %I', '{SCHEMA}', format('%s_g%s_%s', of_stream, next_generation, suffix),
      format('%s_%s', of_stream, suffix));
  END LOOP;
  RETURN present.generation;
END""",
)
"""Makes the generation that was filled the one that all read, and returns the one before."""

DROP = Function(
    "drop_generation",
    "generations",
    "of_stream text, old_generation integer",
    "bigint",
    f"""
DECLARE
  prefix text := of_stream;
  suffix text;
BEGIN
  UPDATE rollup_generations SET dropped_at = now() WHERE stream = of_stream AND generation = old_generation
    AND dropped_at IS NULL AND retired_at IS NOT NULL
    AND (current_since IS NULL OR retired_at < now() - interval '{GRACE}');
  IF NOT FOUND THEN
    RETURN 0;
  END IF;
  IF old_generation > 1 THEN
    prefix := format('%s_g%s', of_stream, old_generation);
  END IF;
  FOREACH suffix IN ARRAY {_listed(WINDOWS)} LOOP
    EXECUTE format('DROP VIEW IF EXISTS %I.%I', '{SCHEMA}', format('%s_g%s_%s', of_stream, old_generation, suffix));
  END LOOP;
  FOREACH suffix IN ARRAY {_listed(_TABLES)} LOOP
    EXECUTE format('DROP TABLE IF EXISTS %I.%I', '{SCHEMA}', format('%s_%s', prefix, suffix));
  END LOOP;
  DELETE FROM generation_positions WHERE stream = of_stream AND generation = old_generation;
  DELETE FROM generation_hours WHERE stream = of_stream AND generation = old_generation;
  RETURN 1;
END""",
)
"""Drops the tables of a generation that was replaced long enough ago, or that never was current. Returns 0, and does
nothing, for every other one."""
