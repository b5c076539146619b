"""How the platform is doing: parts, lag, throughput, error budgets, alerts; health and metrics for machines."""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from serving.depends import CallerDep, ServicesDep, problems
from serving.formats import json_answer, json_bytes, momentary_answer
from serving.problems import Problem
from serving.schemas import Alerts, Alive, Health, Operations
from serving.services import Services
from streamgauge.state.firing import FiringAlert, Incidents, read_firing, read_incidents
from streamgauge.stores.progress import Progress, read_progress

router = APIRouter(tags=["operations"])


@router.get("/v1/health/live", summary="The process answers", responses={200: {"model": Alive}})
async def alive() -> Response:
    return _fresh({"status": "up"})


@router.get(
    "/v1/health/ready",
    summary="It can answer questions: Postgres is there",
    responses={200: {"model": Alive}, **problems()},
)
def ready(services: ServicesDep) -> Response:
    with services.database.snapshot() as connection:
        connection.execute("SELECT 1")
    return _fresh({"status": "up"})


@router.get(
    "/v1/health",
    summary="Every part, as last looked at",
    responses={200: {"model": Health}, **problems()},
)
def health(services: ServicesDep) -> Response:
    parts = _parts(services)
    down = [p for p in parts if not p["up"]]
    status = "down" if any(p["needed"] for p in down) else "degraded" if down else "up"
    return _fresh({"status": status, "as_of": datetime.now(UTC), "parts": parts})


@router.get("/metrics", summary="For Prometheus", include_in_schema=False)
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


@router.get(
    "/v1/operations",
    summary="Parts, lag by partition, throughput and error budgets",
    responses={200: {"model": Operations}, **problems()},
)
def operations(request: Request, services: ServicesDep) -> Response:
    notes: list[str] = []
    body: dict[str, Any] = {
        "as_of": datetime.now(UTC),
        "parts": _parts(services),
        "lag": _lag(services, notes),
        "throughput": [
            {"stream": c.stream, "events_per_second": services.watch.events_per_second(c)}
            for c in services.contracts.values()
        ],
        "error_budgets": _budgets(services, notes),
        "problems": notes,
    }
    return momentary_answer(request, body)


@router.get(
    "/v1/alerts",
    summary="Alerts that fire now",
    responses={200: {"model": Alerts}, **problems()},
)
def alerts(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """What fires now, as `streamgauge alerts firing` lists it: the sensors' alerts and those of Prometheus."""
    found = read_firing(lambda: _incidents(services), services.settings.alertmanager_url, datetime.now(UTC))
    mine = [_alert(a) for a in found.alerts if not a.stream or caller.may_read(a.stream)]
    body = {"available": found.alertmanager_answers, "whole": found.whole, "notes": found.notes, "alerts": mine}
    return json_answer(request, body)


def _fresh(body: dict[str, Any]) -> Response:
    return Response(json_bytes(body), media_type="application/json", headers={"Cache-Control": "no-store"})


def _parts(services: Services) -> list[dict[str, Any]]:
    return [
        {"name": p.name, "up": p.up, "detail": p.detail, "since": p.since, "needed": p.needed}
        for p in services.watch.parts
    ]


def _lag(services: Services, notes: list[str]) -> list[dict[str, Any]] | None:
    streams = {c.topic: c for c in services.contracts.values()}
    try:
        with services.database.snapshot() as connection:
            found = read_progress(connection, streams)
    except Problem as problem:
        notes.append(problem.detail)
        return None
    ends = {topic: services.watch.ends(contract) for topic, contract in streams.items()}
    if None in ends.values():
        notes.append("Kafka doesn't answer: where the logs end is not known.")
    return [
        _lag_of(streams[topic].stream, p, (ends[topic] or {}).get(p.partition, (0, None))[1])
        for topic in sorted(found)
        for p in found[topic]
    ]


def _lag_of(stream: str, progress: Progress, end: int | None) -> dict[str, Any]:
    end = None if end is None else max(end, progress.next)
    return {
        "stream": stream,
        "partition": progress.partition,
        "next_offset": progress.next,
        "end_offset": end,
        "lag": None if end is None else end - progress.next,
        "owner": progress.owner,
        "paused_reason": progress.pause,
        "watermark": progress.watermark,
        "updated_at": progress.committed_at,
    }


def _budgets(services: Services, notes: list[str]) -> list[dict[str, Any]] | None:
    found = services.watch.budgets and services.watch.budgets.read(datetime.now(UTC))
    if found is None:
        notes.append("Prometheus doesn't answer: error budgets are not known.")
        return None
    return [b.as_json() for b in found]


def _incidents(services: Services) -> Incidents | None:
    try:
        with services.database.snapshot() as connection:
            return read_incidents(connection)
    except Problem:
        return None


def _alert(alert: FiringAlert) -> dict[str, Any]:
    return {
        **asdict(alert),
        "stream": alert.stream or None,
        "asset": alert.asset or None,
        "state": alert.state,
        "asset_url": _web(alert.asset_url),
        "runbook_url": _web(alert.runbook_url),
    }


def _web(url: str | None) -> str | None:
    """Labels come from outside: a link may lead to a page, and to nothing that a browser would run."""
    return url if url is not None and re.match(r"https?://", url) else None
