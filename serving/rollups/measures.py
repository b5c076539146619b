"""The measures of a stream's rollups, by the names under which they are asked for."""

from collections.abc import Iterable

from streamgauge.contract.measures import StoredColumn, counter
from streamgauge.contract.model import Contract
from streamgauge.rollup.measure_kinds import Figure, figures, stored_figure
from streamgauge.stores.tables.speed import COUNTERS


def measures_of(contract: Contract) -> dict[str, Figure]:
    found = [*(stored_figure(counter(c)) for c in COUNTERS), *figures(contract.rollup)]
    return {f.name: f for f in found}


def cheap(measures: Iterable[Figure]) -> tuple[Figure, ...]:
    """Those that need no sketch: what is given where nothing is asked for by name."""
    return tuple(m for m in measures if m.sketch is None)


def merged_by_sql(measures: Iterable[Figure]) -> tuple[StoredColumn, ...]:
    """The columns that SQL must merge for these measures."""
    wanted: dict[str, StoredColumn] = {}
    for m in measures:
        wanted |= {c.name: c for c in m.columns if c.merge}
    return tuple(wanted.values())


def sketches_of(measures: Iterable[Figure]) -> tuple[str, ...]:
    """The columns of sketches that the measures need."""
    return tuple(dict.fromkeys(m.columns[0].name for m in measures if m.sketch))
