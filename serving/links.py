"""Links into Dagster for the asset behind a number."""

from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath
from streamgauge.settings import Settings

DESCRIBED = {
    asset_keys.kafka: "The events as they came.",
    asset_keys.minutes: "Minute rollups, seconds after the event.",
    asset_keys.redis_top: "Top-N, for those who ask often.",
    asset_keys.lake: "The events of each hour, as they came.",
    asset_keys.facts: "Events without duplicates and without those that break the contract.",
    asset_keys.duplicates: "Records of events that are facts already.",
    asset_keys.quarantine: "Records that break the contract, with the rule.",
    asset_keys.rollups_hourly: "The same measures, made of facts, hour by hour.",
    asset_keys.rollups_daily: "Days, made of hours.",
    asset_keys.reconciliation: "Both layers compared; makes hours final.",
    asset_keys.report: "The data-quality report of each day.",
}
UPSTREAM = {
    "provisional": (asset_keys.minutes, asset_keys.kafka),
    "final": (
        asset_keys.rollups_hourly,
        asset_keys.reconciliation,
        asset_keys.facts,
        asset_keys.lake,
        asset_keys.kafka,
    ),
}


def asset_url(settings: Settings, key: AssetPath) -> str | None:
    return None if settings.dagster_url is None else f"{settings.dagster_url.rstrip('/')}/assets/{'/'.join(key)}"


def run_url(settings: Settings, run_id: str | None) -> str | None:
    if settings.dagster_url is None or not run_id:
        return None
    return f"{settings.dagster_url.rstrip('/')}/runs/{run_id}"


def assets_of(settings: Settings, contract: Contract) -> list[dict[str, str | None]]:
    return [
        {"asset": "/".join(key(contract)), "description": text, "url": asset_url(settings, key(contract))}
        for key, text in DESCRIBED.items()
    ]
