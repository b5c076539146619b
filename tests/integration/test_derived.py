"""What a contract computes of its events: counted by the worker, made again by the batch layer, and the same; and read
alike by the API, the command and SQL.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from assets.dims.store import dimension_table
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.settings import Settings
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.postgres import connect
from streamgauge.stores.tables.batch import ROLLUPS
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.own_stream import Document, block
from tests.integration.running import Running, streamgauge
from tests.integration.serving_client import in_process
from tests.integration.test_reconciliation import final, query, reconcile, send
from tests.integration.workers import wait_until_read

EVENTS = 3_000
DERIVED = {
    "size": "cast(properties.size as bigint)",
    "half": "size / (size - 3)",
    "what": "case when size > 4 then 'large' else lower(substr(event_type, 1, 4)) || '-' || reference.kind end",
    "odd": "size % 2 = 1",
}
"""Of events whose size is their number by 7, and whose reference knows nobody."""


def derive(document: Document) -> None:
    properties: list[dict[str, Any]] = document["customProperties"]
    properties.append({"property": "derived", "value": DERIVED})
    rollup = block(document, "rollup")
    rollup["dimensions"] += [{"name": "odd", "source": "odd"}, {"name": "what", "source": "what"}]
    rollup["measures"].append(
        {"name": "half", "source": "half", "where": "event_type = 'PushEvent'", "quantiles": True, "last": True}
    )
    rollup["counts"] = [{"name": "big", "where": "size > 4"}]
    rollup["ratios"] = [
        {"name": "big_share", "of": "big", "to": "count"},
        {"name": "half_of_big", "of": "half_n", "to": "big"},
    ]
    rollup["distinct"].append({"name": "whats", "source": "what"})
    rollup["top"].append({"name": "sizes", "source": "size", "exactKeys": 100})
    star = next(p["value"] for p in properties if p["property"] == "star")
    star.append({"name": f"{document['schema'][0]['name']}_what", "source": "what"})


def what(number: int) -> tuple[str, str]:
    size, kind = number % 7, ("push", "fork")[number % 2]
    return ("true" if size % 2 else "false", "large" if size > 4 else f"{kind}-unknown")


@pytest.mark.timeout(200)
def test_both_layers_count_by_what_is_derived(running: Running) -> None:
    running.edit(derive)
    running.apply()
    running.workers.start()
    # the hour before the last one: of that, events on time may still come
    contract, hour = running.contract, hour_start(datetime.now(UTC)) - 2 * HOUR
    send(contract, running, range(EVENTS), hour, hour + HOUR)
    # what comes after the hour lets it become final
    send(contract, running, range(EVENTS, EVENTS + 60), hour + HOUR, datetime.now(UTC))
    wait_until_read(contract)
    expected = expected_of(range(EVENTS))
    assert by_what(contract, f"{contract.stream}_1m", hour) == expected

    # late: the batch layer alone counts these, and the reconciliation says why
    send(contract, running, range(EVENTS + 60, EVENTS + 100), hour, hour + HOUR)
    assert wait_until_read(contract).late == 40
    fill_lake(contract)
    fill_batch(contract, [hour])
    known = [*range(EVENTS), *range(EVENTS + 60, EVENTS + 100)]
    expected = expected_of(known)
    assert by_what(contract, f"{contract.stream}_{ROLLUPS['1h']}", hour) == expected
    found = reconcile(contract, [hour])
    assert all(e.passed for e in found.values())
    differences = (
        "select sum(batch - speed)::bigint from reconciliation_differences"
        " where stream = %s and explained and measure = %s"
    )
    assert query(differences, contract.stream, "count") == [(40,)]
    assert query(differences, contract.stream, "big") == [(sum(i % 7 > 4 for i in known if i >= EVENTS),)]
    assert final(contract) == {hour: (1, True)}
    assert_star(contract, hour)
    assert_ratios(running, contract, hour, known)
    sizes = Counter(str(i % 7) for i in range(EVENTS, EVENTS + 60))
    top = streamgauge(running.own.folder, "top", contract.stream, "--window", "1h", "--json")
    assert all(f'"key": "{size}"' in top for size in sizes)


def assert_ratios(running: Running, contract: Contract, hour: datetime, numbers: Sequence[int]) -> None:
    """By what the numbers say, in every way of reading."""
    expected = {
        kind: (big / len(of), halves / big if big else None)
        for kind, of in _grouped(numbers).items()
        for big in [sum(i % 7 > 4 for i in of)]
        for halves in [sum(i % 2 == 0 and i % 7 != 3 for i in of)]
    }
    between = {"from": hour.isoformat(), "to": (hour + HOUR).isoformat(), "window": "1h"}
    with in_process(running.own.folder) as client:
        asked = {**between, "group_by": "odd,what", "measures": "big_share,half_of_big"}
        rows: list[dict[str, Any]] = client.get(f"/v1/streams/{contract.stream}/rollups", params=asked).json()["rows"]
        (stream,) = client.get("/v1/streams").json()["streams"]
    assert _ratios(rows) == expected
    figures = {m["name"]: m["figures"] for m in stream["measures"]}
    assert (figures["big"], figures["big_share"]) == (["big"], ["big_share"])
    options = [part for name, value in between.items() for part in (f"--{name}", value)]
    groups = ("--group-by", "odd", "--group-by", "what")
    reported = streamgauge(running.own.folder, "rollups", contract.stream, *options, *groups, "--json")
    assert _ratios(json.loads(reported)["rows"]) == expected
    columns = "odd, what, sum(big)::float8 / nullif(sum(count), 0), sum(half_n)::float8 / nullif(sum(big), 0)"
    by_hand = f'select {columns} from "{contract.stream}_1h" where window_start = %s group by 1, 2'
    assert {(o, w): (a, b) for o, w, a, b in query(by_hand, hour)} == expected
    of_view = f'select big, count, big_share, half_n, half_of_big from "{contract.stream}_5m_hop_1m"'
    rows_of_view = query(of_view)
    assert rows_of_view
    for big, count, share, halves, half_of_big in rows_of_view:
        assert share == (big / count if count else None)
        assert half_of_big == (halves / big if big else None)


def _ratios(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    return {(row["odd"], row["what"]): (row["big_share"], row["half_of_big"]) for row in rows}


def _grouped(numbers: Sequence[int]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i in numbers:
        found[what(i)].append(i)
    return found


def expected_of(numbers: Sequence[int]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """By the derived dimensions: count, big ones, and of the measure how many, sum, least and greatest."""
    return {
        kind: (
            len(of),
            sum(i % 7 > 4 for i in of),
            len(halves),
            pytest.approx(sum(halves)),
            min(halves, default=None),
            max(halves, default=None),
        )
        for kind, of in _grouped(numbers).items()
        for halves in [[(i % 7) / (i % 7 - 3) for i in of if i % 2 == 0 and i % 7 != 3]]
    }


def by_what(contract: Contract, table: str, hour: datetime) -> dict[tuple[str, str], tuple[Any, ...]]:
    columns = "sum(count)::bigint, sum(big)::bigint, sum(half_n)::bigint, sum(half_sum), min(half_min), max(half_max)"
    query = f'select odd, what, {columns} from "{table}" where window_start >= %s and window_start < %s group by 1, 2'
    with connect(Settings.for_role("reader")) as connection:
        rows = connection.execute(query.encode(), (hour, hour + HOUR)).fetchall()
    return {(odd, kind): tuple(rest) for odd, kind, *rest in rows}


def assert_star(contract: Contract, hour: datetime) -> None:
    """Each fact leads to the member that its event is counted under."""
    root, name = BatchResource().settings.lake, f"{contract.stream}_what"
    members = dict(dimension_table(root, name, ()).read().select(f"{name}_key", name).iter_rows())
    facts = facts_table(root, contract).read([hour_key(hour)])
    assert facts.height == EVENTS + 40
    for event_id, key in facts.select("event_id", f"{name}_key").iter_rows():
        assert members[key] == what(int(event_id[1:]))[1]
