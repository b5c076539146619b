"""The same facts, star and rollups as one would write them by hand in DuckDB, from the same Parquet files to Parquet.

Distinct counts, quantiles and top lists are DuckDB's own kinds; hours are made from facts again, because those don't
merge. Contract rules, duplicates, dimension keys and the as-of join are the same.
"""

import json
import os
import resource
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from bench.batch import BEGIN, HOURS, reference

_FACTS = """
create table judged as
with rows as (
    select *, (event_id is null or contains(event_id, chr(0)) or length(event_id) not between 1 and 64
        or user_id is null or contains(user_id, chr(0)) or length(user_id) not between 1 and 128
        or event_type is null or contains(event_type, chr(0)) or length(event_type) not between 1 and 64
        or not regexp_matches(event_type, '^[A-Z][A-Za-z0-9]*$')
        or timestamp is null or timestamp < timestamptz '2000-01-01 00:00:00+00'
        or timestamp > ingest_time + interval 300 second
        or properties is null or metadata is null or schema_version is null or schema_version < 1) as broken
    from read_parquet('{lake}/**/*.parquet', hive_partitioning = true)
)
select * exclude (error, record, ingest_hour),
    not broken and exists_before as duplicate
from (
    select *, not broken and row_number() over (
        partition by event_id, broken order by ingest_time, partition, "offset") > 1 as exists_before
    from rows
)
"""

_ROLLUP = """
select date_trunc('{size}', minute) as window_start, event_type, kind,
    count(*) filter (not duplicate) as count, count(*) filter (duplicate) as duplicates,
    approx_count_distinct(user_id) filter (not duplicate) as users,
    count(commits) as commits_n, sum(commits) as commits_sum, min(commits) as commits_min,
    max(commits) as commits_max, approx_quantile(commits, [0.5, 0.95, 0.99]) as commits_quantiles
from (measured) group by all order by all
"""
_TOPS = """
select window_start, top, list(key) as keys, list(n) as counts from (
    select date_trunc('{size}', minute) as window_start, 'users' as top, user_id as key, count(*) as n
    from (measured) where not duplicate group by all
    union all
    select date_trunc('{size}', minute), 'organisations', organisation, count(*)
    from (measured) where not duplicate group by all)
group by all order by all
"""


def main() -> None:
    root = Path(sys.argv[1])
    out = root / "duckdb"
    out.mkdir()
    began = time.perf_counter()
    db: Any = duckdb.connect(str(out / "work.duckdb"))
    db.execute("set memory_limit = '3GB'; set timezone = 'UTC'; set preserve_insertion_order = false")
    db.execute(f"set threads = {os.cpu_count()}; set temp_directory = '{out / 'spill'}'")
    db.register("known", reference().to_arrow())
    db.execute(f"create table reference as select *, timestamptz '{BEGIN.isoformat()}' as valid_from from known")
    lake = root / "lake" / "user_events"
    db.execute(_FACTS.format(lake=lake))
    _star(db, out)
    _rollups(db, out)
    facts, count = db.execute(
        "select (select count(*) from facts where not duplicate), (select sum(count) from hours)"
    ).fetchone()
    seconds, cpu = time.perf_counter() - began, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"seconds": seconds, "cpu": cpu, "rss_peak": peak, "facts": facts, "count": int(count)}
    print(json.dumps(result))  # noqa: T201


def _star(db: Any, out: Path) -> None:
    db.execute(
        """create view enriched as
        select j.*, coalesce(r.kind, 'unknown') as kind, coalesce(r.organisation, 'unknown') as organisation,
            r.valid_from from judged j left join reference r
            on j.user_id = r.user_id and r.valid_from <= j.ingest_time where not j.broken"""
    )
    for name, member in (("event_type", "event_type"), ("organisation", "organisation")):
        db.execute(
            f"create table dim_{name} as select distinct {member} as {name},"
            f" ('0x' || left(md5({member}), 15))::bigint as {name}_key from enriched"
        )
    db.execute(
        "create table dim_user as select distinct user_id, kind, organisation, valid_from,"
        " ('0x' || left(md5(user_id || coalesce(valid_from::varchar, '')), 15))::bigint as user_key from enriched"
    )
    db.execute(
        """create table facts as
        select e.* exclude (broken, exists_before, valid_from), u.user_key, t.event_type_key, o.organisation_key,
            strftime(e.timestamp, '%Y%m%d')::int as date_key, hour(e.timestamp)::int as hour_key
        from enriched e
        join dim_user u on u.user_id = e.user_id and u.valid_from is not distinct from e.valid_from
        join dim_event_type t on t.event_type = e.event_type
        join dim_organisation o on o.organisation = e.organisation"""
    )
    copies = {
        "facts": "select * exclude duplicate from facts where not duplicate",
        "duplicates": "select * exclude duplicate from facts where duplicate",
        "quarantine": "select * from judged where broken",
    }
    for name, query in copies.items():
        db.execute(
            f"copy ({query}) to '{out / name}' (format parquet, compression zstd, compression_level 1,"
            " partition_by (event_hour))"
        )


def _rollups(db: Any, out: Path) -> None:
    db.execute(
        """create table measured as
        select date_trunc('minute', timestamp) as minute, event_type, kind, user_id, organisation, duplicate,
            case when not duplicate
                then try_cast(list_filter(properties, lambda p: p.key = 'size')[-1].value as double) end
            as commits
        from facts"""
    )
    for size in ("minute", "hour"):
        _create(db, f"{size}s", _ROLLUP.format(size=size))
        _create(db, f"{size}_tops", _TOPS.format(size=size))
        for table in (f"{size}s", f"{size}_tops"):
            db.execute(f"copy {table} to '{out / table}.parquet' (format parquet, compression zstd)")


def _create(db: Any, table: str, query: str) -> None:
    """Hour by hour: over the whole day the aggregates' states don't fit in memory, and spill tens of gigabytes."""
    for i in range(HOURS):
        begin, end = ((BEGIN + timedelta(hours=h)).isoformat() for h in (i, i + 1))
        hour = f"(select * from measured where minute >= timestamptz '{begin}' and minute < timestamptz '{end}')"
        how = f"insert into {table}" if i else f"create table {table} as"
        db.execute(f"{how} {query.replace('(measured)', hour)}")


if __name__ == "__main__":
    main()
