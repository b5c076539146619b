"""The hourly checks as asset checks: steps of their own behind the asset, so that it needs to know nothing of them.

A check that can't tell gets no evaluation: that is no pass, and Dagster knows only pass and fail. Postgres and the
report have it as unknown.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.evaluations import log_evaluations
from assets.partitions import Partitions, hours_of
from assets.resources import BatchResource
from quality.checks.completeness import BOOKS, check_books
from quality.hourly import FACTS_CHECKS, LAKE_CHECKS, Outcomes, check_facts, check_lake, spec_of
from quality.outcome import CheckOutcome, Sample, combined
from quality.read import read_books
from quality.results import record
from streamgauge.contract.model import Contract, Severity
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath
from streamgauge.records.registry import registry

BOOKS_CHECKS = {
    BOOKS: "Of the whole stream, as of now: acknowledged = counted + late + duplicates + dead letters, and what is in "
    "the lake = facts + duplicates + quarantined. Left out while hours wait to be built."
}


def make_facts_checks(contract: Contract, partitions: Partitions) -> dg.AssetChecksDefinition:
    path = asset_keys.facts(contract)

    @dg.multi_asset_check(
        name=f"{contract.stream}_facts_checks",
        specs=_specs(contract, path, FACTS_CHECKS, partitions.event_hours),
        can_subset=True,
    )
    def facts_checks(context: dg.AssetCheckExecutionContext, batch: BatchResource) -> Iterator[dg.AssetCheckResult]:
        hours = hours_of(context)
        with batch.connect(autocommit=True) as connection:
            found = check_facts(connection, contract, batch.settings.lake, hours)
        yield from _report(context, batch, contract, path, found)

    return facts_checks


def make_lake_checks(contract: Contract, partitions: Partitions) -> dg.AssetChecksDefinition:
    path = asset_keys.lake(contract)

    @dg.multi_asset_check(
        name=f"{contract.stream}_lake_checks",
        specs=_specs(contract, path, LAKE_CHECKS, partitions.ingest_hours),
        can_subset=True,
    )
    def lake_checks(context: dg.AssetCheckExecutionContext, batch: BatchResource) -> Iterator[dg.AssetCheckResult]:
        schemas = registry(batch.settings)
        try:
            with batch.connect(autocommit=True) as connection:
                found = check_lake(connection, contract, batch.settings.lake, schemas, hours_of(context))
        finally:
            schemas.close()
        yield from _report(context, batch, contract, path, found)

    return lake_checks


def make_books_check(contract: Contract, partitions: Partitions) -> dg.AssetChecksDefinition:
    path = asset_keys.report(contract)

    @dg.multi_asset_check(
        name=f"{contract.stream}_books_check",
        specs=_specs(contract, path, BOOKS_CHECKS, partitions.event_days),
        can_subset=True,
    )
    def books_check(context: dg.AssetCheckExecutionContext, batch: BatchResource) -> Iterator[dg.AssetCheckResult]:
        with batch.connect(autocommit=True) as connection:
            outcome = check_books(contract, read_books(connection, contract))
        # of the whole stream and as of now, so it belongs to the latest day alone
        yield from _report(context, batch, contract, path, {outcome.check: {max(context.partition_keys): outcome}})

    return books_check


def _specs(
    contract: Contract, path: AssetPath, checks: Mapping[str, str], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            check,
            asset=dg.AssetKey(path),
            description=description,
            blocking=spec_of(contract.checks, check).blocking,
            partitions_def=partitions,
            metadata={"severity": spec_of(contract.checks, check).severity, "owner": contract.owner},
        )
        for check, description in checks.items()
    ]


def _report(
    context: dg.AssetCheckExecutionContext, batch: BatchResource, contract: Contract, path: AssetPath, found: Outcomes
) -> Iterator[dg.AssetCheckResult]:
    """To Postgres and to Dagster. A step yields one result for a check, which in a range is that of all its hours."""
    wanted = {key.name for key in context.selected_asset_check_keys}
    chosen = {check: by_hour for check, by_hour in found.items() if check in wanted and by_hour}
    outcomes = [(hour, outcome) for by_hour in chosen.values() for hour, outcome in by_hour.items()]
    with batch.connect() as connection:
        record(connection, contract, path, outcomes, context.run.run_id)
    key = dg.AssetKey(path)
    if not context.has_partition_key:
        evaluated = [(hour, result_of(key, outcome)) for hour, outcome in outcomes if outcome.status != "unknown"]
        log_evaluations(context, key, evaluated)
    for check, by_hour in chosen.items():
        overall = combined(check, by_hour) if len(by_hour) > 1 else next(iter(by_hour.values()))
        if overall.status == "unknown":
            context.log.info(f"{check}: not evaluated: {overall.observed}")
        else:
            yield result_of(key, overall)


def result_of(key: dg.AssetKey, outcome: CheckOutcome) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=outcome.check,
        passed=outcome.status == "passed",
        severity=_SEVERITY[outcome.severity],
        description=outcome.observed,
        metadata=metadata_of(outcome),
    )


def metadata_of(outcome: CheckOutcome) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "observed": outcome.observed,
        "expected": outcome.expected,
        "failing": outcome.failing,
        "of": outcome.denominator,
        **outcome.details,
    }
    if outcome.samples:
        metadata["samples"] = dg.MetadataValue.md(_listed(outcome.samples))
    return metadata


def _listed(samples: Sequence[Sample]) -> str:
    rows = [
        f"| {_cell(s.rule)} | {s.position} | {_cell(', '.join(f'{name}: {text}' for name, text in s.fields.items()))} |"
        for s in samples
    ]
    return "\n".join(("| rule | position | fields, masked |", "|---|---|---|", *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


_SEVERITY: dict[Severity, dg.AssetCheckSeverity] = {
    "error": dg.AssetCheckSeverity.ERROR,
    "warning": dg.AssetCheckSeverity.WARN,
}
