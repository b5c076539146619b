"""What `top` shows."""

from datetime import UTC, datetime, timedelta

from rich.console import Console, RenderableType

from streamgauge.cli.top import tops_view, view_or_error, with_values
from streamgauge.contract.load import load_contract
from streamgauge.errors import UserError
from streamgauge.rollup.sketches import Ranked
from streamgauge.rollup.tops import Source, TopAnswer
from streamgauge.settings import CONTRACTS
from streamgauge.text import NONE

END = datetime(2026, 1, 1, 11, tzinfo=UTC)


def answer(stream: str, top: str, error: int = 0, source: Source = "redis") -> TopAnswer:
    items = (Ranked("[bold]ann", 1234, 1234 - error, 1234),)
    return TopAnswer(stream, top, "1h", END - timedelta(hours=1), END, None, items, error, source)


def shown(view: RenderableType) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_each_stream_says_what_its_numbers_are() -> None:
    text = shown(tops_view([answer("a", "users"), answer("a", "teams", error=7), answer("b", "x", source="postgres")]))
    assert f"a  2026-01-01 10:00:00Z to 2026-01-01 11:00:00Z, provisional, from redis, watermark {NONE}" in text
    assert f"b  2026-01-01 10:00:00Z to 2026-01-01 11:00:00Z, provisional, from postgres, watermark {NONE}" in text
    assert "users, exact" in text
    assert "teams, at most 7 too high" in text


def test_a_key_is_shown_as_it_is() -> None:
    """Keys come from events: what looks like markup is none."""
    line = next(line for line in shown(tops_view([answer("a", "users")])).splitlines() if "ann" in line)
    assert line.split() == ["[bold]ann", "1,234"]


def test_pseudonyms_of_people_become_values_where_those_are_known() -> None:
    contract = load_contract(CONTRACTS / "user_events.yaml")
    people, teams = answer(contract.stream, "users"), answer(contract.stream, "organisations")
    known, other = with_values([people, teams], [contract], lambda _, keys: dict.fromkeys(keys, "Ann Other"))
    assert [i.key for i in known.items] == ["Ann Other"] and other == teams
    assert [i.count for i in known.items] == [i.count for i in people.items]
    assert with_values([people], [contract], lambda _c, _k: {}) == [people]


def test_a_live_view_outlives_a_server_that_is_away() -> None:
    def away() -> list[TopAnswer]:
        raise UserError("no connection to Postgres", "wait")

    assert "no connection to Postgres; trying again" in shown(view_or_error(away))
    assert "users, exact" in shown(view_or_error(lambda: [answer("a", "users")]))
