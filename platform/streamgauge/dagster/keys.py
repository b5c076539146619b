"""What each asset is called in Dagster's graph: for all who speak of one, with Dagster or without."""

from streamgauge.contract.model import Contract

AssetPath = tuple[str, str]


def kafka(contract: Contract) -> AssetPath:
    return ("kafka", contract.topic)


def minutes(contract: Contract) -> AssetPath:
    return ("speed", contract.minutes_table)


def redis_top(contract: Contract) -> AssetPath:
    return ("redis", f"{contract.stream}_top")


def lake(contract: Contract) -> AssetPath:
    return ("lake", contract.stream)


def facts(contract: Contract) -> AssetPath:
    return ("facts", contract.stream)


def dimension(name: str) -> AssetPath:
    return ("dims", name)


def rollups_hourly(contract: Contract) -> AssetPath:
    return ("rollups", f"{contract.stream}_hourly")


def rollups_daily(contract: Contract) -> AssetPath:
    return ("rollups", f"{contract.stream}_daily")


def reconciliation(contract: Contract) -> AssetPath:
    return ("reconciliation", contract.stream)


def report(contract: Contract) -> AssetPath:
    return ("quality", f"{contract.stream}_report")


def event_hours_job(contract: Contract) -> str:
    """The job that makes all that hangs on an hour of event time."""
    return f"{contract.stream}_event_hours"


def reconcile_job(contract: Contract) -> str:
    return f"{contract.stream}_reconcile"
