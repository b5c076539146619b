"""A question for rollups as one SQL statement, which a person can read, change and run as the login `reader`.

It asks the views of windows, so it says the same as the API whichever layer an hour is in.
"""

from datetime import datetime, timedelta

from serving.rollups.asked import Asked
from streamgauge.dagster.hours import HOUR
from streamgauge.rollup.measure_kinds import Figure
from streamgauge.rollup.windows import WINDOWS
from streamgauge.stores.ddl import literal, quote
from streamgauge.stores.merging import merged_text


def in_sql(asked: Asked) -> tuple[str, list[str]]:
    """The statement, and the measures that it lacks: SQL can't merge sketches."""
    merged = [m for m in asked.measures if m.sketch is None]
    start = f"date_bin({_interval(asked.window.size)}, window_start, {_time(asked.origin)})"
    keys = [f"{start} AS window_start", *map(quote, asked.group_by)]
    columns = [*keys, *(f"{_value(m)} AS {quote(m.name)}" for m in merged), *_standing(asked, start)]
    conditions = [f"window_start >= {_time(asked.first)}", f"window_start < {_time(asked.stop)}"]
    conditions += [f"{quote(d)} IN ({', '.join(map(literal, values))})" for d, values in asked.where.items()]
    places = ", ".join(str(i + 1) for i in range(len(keys)))
    query = (
        f"SELECT {_LINE.join(columns)}\nFROM {quote(f'{asked.contract.stream}_{_view(asked)}')}\n"
        f"WHERE {_AND.join(conditions)}\nGROUP BY {places}\nORDER BY {places};"
    )
    return query, [m.name for m in asked.measures if m.sketch]


_LINE = ",\n       "
_AND = "\n  AND "


def _view(asked: Asked) -> str:
    """The one of the longest windows that fit."""
    fits = [n for n, size in WINDOWS.items() if not asked.window.size % size and not _since_midnight(asked) % size]
    return max(fits, key=WINDOWS.__getitem__)


def _since_midnight(asked: Asked) -> timedelta:
    return asked.first - asked.first.replace(hour=0, minute=0, second=0, microsecond=0)


def _value(m: Figure) -> str:
    first, *more = m.columns
    if not more or first.by:
        return merged_text(first)
    return f"({merged_text(first)})::double precision / nullif({merged_text(more[0])}, 0)"


def _standing(asked: Asked, start: str) -> tuple[str, str]:
    """A window that is longer than an hour may hold hours that are not over, of which there is no row."""
    final = "bool_and(status = 'final')"
    if asked.window.size > HOUR:
        ends = f"{start} + {_interval(asked.window.size)}"
        newest = (
            f"SELECT max(hour) + interval '1 hour' FROM final_hours WHERE stream = {literal(asked.contract.stream)}"
        )
        final += f" AND {ends} <= ({newest})"
    return f"CASE WHEN {final} THEN 'final' ELSE 'provisional' END AS status", "bool_or(unchecked) AS unchecked"


def _interval(length: timedelta) -> str:
    return f"interval '{length // timedelta(minutes=1)} minutes'"


def _time(time: datetime) -> str:
    return f"timestamptz '{time:%Y-%m-%dT%H:%M:%SZ}'"
