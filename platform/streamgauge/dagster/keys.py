"""What each asset is called in Dagster's graph: for all who name one, with Dagster or without.

A key is the layer and a name. Dagster's graph shows only the name, so a name is unique and says what the asset is.
"""

from collections.abc import Iterable
from typing import NamedTuple

from streamgauge.contract.model import MINUTES, Contract, rollups_of

AssetPath = tuple[str, str]


def kafka(contract: Contract) -> AssetPath:
    return ("kafka", contract.topic)


def minutes(contract: Contract) -> AssetPath:
    return ("speed", rollups_of(contract.stream, 1) + f"_{MINUTES}")


def redis_top(contract: Contract) -> AssetPath:
    return ("redis", f"{contract.stream}_top")


def lake(contract: Contract) -> AssetPath:
    return ("lake", f"{contract.stream}_lake")


def facts(contract: Contract) -> AssetPath:
    return ("facts", f"{contract.stream}_facts")


def duplicates(contract: Contract) -> AssetPath:
    return ("facts", f"{contract.stream}_duplicates")


def quarantine(contract: Contract) -> AssetPath:
    return ("facts", f"{contract.stream}_quarantine")


def facts_tables(contract: Contract) -> tuple[AssetPath, ...]:
    """What one step makes: Dagster runs it for all of them or not at all."""
    return facts(contract), duplicates(contract), quarantine(contract)


def dimension(name: str) -> AssetPath:
    return ("dims", f"dim_{name}")


def rollups_hourly(contract: Contract) -> AssetPath:
    return ("rollups", f"{contract.stream}_hourly")


def rollups_daily(contract: Contract) -> AssetPath:
    return ("rollups", f"{contract.stream}_daily")


def reconciliation(contract: Contract) -> AssetPath:
    return ("reconciliation", f"{contract.stream}_reconciliation")


def report(contract: Contract) -> AssetPath:
    return ("quality", f"{contract.stream}_report")


def event_hours_job(contract: Contract) -> str:
    """The job that makes all that hangs on an hour of event time."""
    return f"{contract.stream}_event_hours"


def lake_job(contract: Contract) -> str:
    return f"{contract.stream}_take_lake"


def reconcile_job(contract: Contract) -> str:
    return f"{contract.stream}_reconcile"


def fill_job(contract: Contract) -> str:
    return f"{contract.stream}_fill_generation"


def event_hours_assets(contract: Contract) -> tuple[AssetPath, ...]:
    """What that job makes, in order."""
    return *facts_tables(contract), rollups_hourly(contract), reconciliation(contract)


FORMER_NAMES = {"lake": "{}_lake", "facts": "{}_facts", "reconciliation": "{}_reconciliation", "dims": "dim_{}"}
"""Layers whose assets once had a stream's or a dimension's bare name, and the name that they have now."""


class Renamed(NamedTuple):
    """An asset of a stream, its layer with it: "lake/user_events" and "lake/user_events_lake"."""

    stream: str
    former: str
    name: str


def renamed(contracts: Iterable[Contract]) -> frozenset[Renamed]:
    """The assets that check results and alerts may still know by a former name."""
    return frozenset(
        Renamed(c.stream, f"{layer}/{c.stream}", f"{layer}/{name}")
        for c in contracts
        for layer, name in (lake(c), facts(c), reconciliation(c))
    )
