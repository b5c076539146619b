"""Views of windows over both layers, for those who ask in SQL."""

from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.stores.ddl import View, bucket, check_name, literal, names, quote
from streamgauge.stores.merging import merged_text
from streamgauge.stores.tables.batch import rollups_table
from streamgauge.stores.tables.speed import COUNTERS

WINDOWS = ("1m", "5m", "1h", "5m_hop_1m")
"""The views, behind the stream's name."""


def window_views(contract: Contract, *, current: bool = True) -> list[View]:
    """Of the stream's `current` generation under its own name, so that who asks in SQL gets the next one at once.

    Sums over partitions for each window: of the batch layer's minutes where the hour is final, of the worker's where
    it is not, as the API and the command answer. Sketches don't merge in SQL: streamgauge.rollup.windows merges them.
    """
    name = contract.stream if current else f"{contract.stream}_g{contract.generation}"
    *tumbling, hop = WINDOWS
    views = [View(f"{name}_{w}", "windows", _windows(contract, bucket(w, "minute"), "", _ALL_FINAL)) for w in tumbling]
    hopping = _windows(
        contract,
        "minute - __hop * interval '1 minute'",
        " CROSS JOIN generate_series(0, 4) AS __hop",
        "bool_and(__final)",
    )
    # a window over the border of two hours is what both of them are, whichever of them it has rows of
    ends = ("window_start", "window_start + interval '4 minutes'")
    final = " AND ".join(_is_final(contract, at) for at in ends)
    unchecked = " OR ".join(_is_final(contract, at, " AND NOT r.__checked") for at in ends)
    columns = ", ".join(map(quote, view_columns(contract)[: -len(_STANDING)]))
    status = f"CASE WHEN status AND {final} THEN 'final' ELSE 'provisional' END AS status, {unchecked} AS unchecked"
    views.append(View(f"{name}_{hop}", "windows", f"SELECT {columns}, {status} FROM ({hopping}) AS windows"))
    for view in views:
        check_name(contract, view.name)
    return views


_STANDING = ("status", "unchecked")


def view_columns(contract: Contract) -> tuple[str, ...]:
    """In their order. What the views go through within has names that no contract can give: they begin with __."""
    ratios = (r.name for r in contract.rollup.ratios)
    return ("window_start", *contract.dimension_names, *COUNTERS, *_figures(contract), *ratios, *_STANDING)


_ALL_FINAL = "CASE WHEN bool_and(__final) THEN 'final' ELSE 'provisional' END"


def _figures(contract: Contract) -> list[str]:
    return [c.name for c in contract.rollup.columns if c.merge]


def _windows(contract: Contract, start: str, more: str, status: str) -> str:
    columns = [*map(counter, COUNTERS), *contract.rollup.columns]
    merged = {c.name: merged_text(c) for c in columns if c.merge}
    measures = [f"{aggregate} AS {quote(name)}" for name, aggregate in merged.items()]
    measures += [
        f"({merged[r.of]})::double precision / nullif({merged[r.to]}, 0) AS {quote(r.name)}"
        for r in contract.rollup.ratios
    ]
    keys = "".join(f", {quote(c)}" for c in contract.dimension_names)
    return (
        f"SELECT {start} AS window_start{keys}, {', '.join(measures)}, {status} AS status,"
        f" bool_or(unchecked) AS unchecked FROM ({_minutes_of_both(contract)}) AS minutes{more} GROUP BY {start}{keys}"
    )


def _minutes_of_both(contract: Contract) -> str:
    kept = names((*contract.dimension_names, "count", "duplicates", *_figures(contract)))
    batch, hour = rollups_table(contract, "1m"), bucket("1 hour", "window_start")
    return (
        f"SELECT minute, {kept}, late, false AS __final, false AS unchecked FROM {quote(contract.minutes_table)}"
        f" WHERE NOT {_is_final(contract, 'minute')}"
        f" UNION ALL SELECT window_start, {kept}, 0::bigint, true, NOT r.__checked"
        f" FROM {quote(batch)} JOIN ({_latest(contract)}) AS r ON r.__hour = {hour}"
    )


def _is_final(contract: Contract, time: str, more: str = "") -> str:
    return f"EXISTS (SELECT FROM ({_latest(contract)}) AS r WHERE r.__hour = {bucket('1 hour', time)}{more})"


def _latest(contract: Contract) -> str:
    """Each final hour's latest revision."""
    return (
        "SELECT DISTINCT ON (hour) hour AS __hour, checked AS __checked FROM hour_revisions"
        f" WHERE stream = {literal(contract.stream)} ORDER BY hour, revision DESC"
    )
