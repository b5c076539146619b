"""What replay and load say of their events before and after they are sent."""

from collections.abc import Sequence

from rich.console import Console

from streamgauge.cli.output import RIGHT, console, table
from streamgauge.text import number
from streaming.forecast import Forecast, Outcome


def warn(out: Console, found: Forecast) -> None:
    for line in found.lines():
        out.print(line, style="yellow", markup=False, soft_wrap=True)


def show_outcomes(became: Sequence[Outcome]) -> None:
    """What the streams' books say since the first event was sent, whoever sent them."""
    if not became:
        return
    out = console()
    figures = ("counted", "late", "duplicates", "dead_letters", "lag")
    shown = table(became="left", **dict.fromkeys(figures, RIGHT))
    for o in became:
        shown.add_row(o.stream, *(number(getattr(o, f)) for f in figures))
    out.print()
    out.print(shown)
    if any(o.lag for o in became):
        out.print("The worker has not read all of them yet: streamgauge streams shows how far it is.")
    if any(o.late for o in became):
        out.print("Late events are not in the minutes; the batch layer counts them in the hour in which they happened.")
