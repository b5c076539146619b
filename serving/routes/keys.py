"""API keys, for administrators."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.audit import record
from serving.depends import CallerDep, ServicesDep, problems
from serving.formats import json_bytes, momentary_answer
from serving.problems import INVALID, NOT_FOUND, Problem
from serving.schemas import ApiKey, ApiKeys, NewApiKey
from streamgauge.errors import UserError
from streamgauge.state import api_keys as keys
from streamgauge.state.api_keys import StoredKey, key_event
from streamgauge.web.origin import address

router = APIRouter(prefix="/v1/api-keys", tags=["administration"])


class KeyWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$", description="Who or what uses it.")
    scopes: list[str] = Field(
        min_length=1,
        max_length=100,
        description="read:STREAM, write:STREAM (* for all), operations, dagster, personal, admin.",
    )
    days: int | None = Field(default=None, ge=1, le=3650, description="How long it is valid; by default for ever.")


@router.get("", summary="All keys, without their secrets", responses={200: {"model": ApiKeys}, **problems()})
def listed(request: Request, services: ServicesDep) -> Response:
    with services.database.snapshot() as connection:
        found = keys.listed(connection)
    return momentary_answer(request, {"keys": [_shown(k) for k in found]})


@router.post(
    "",
    summary="Make a key",
    status_code=201,
    responses={201: {"model": NewApiKey}, **problems()},
    response_class=Response,
)
def created(request: Request, services: ServicesDep, caller: CallerDep, wanted: KeyWanted) -> Response:
    try:
        scopes = keys.checked_scopes(wanted.scopes, services.scopes())
    except UserError as e:
        raise Problem(INVALID, f"{e.what}.", f"{e.hint}.", parameter="scopes") from e
    lifetime = None if wanted.days is None else timedelta(days=wanted.days)
    with services.database.change() as connection:
        key, stored = keys.create(connection, wanted.name, scopes, lifetime)
        record(connection, key_event("api-key.create", stored, caller.name, address(request)))
    body = json_bytes({"key": key, **_shown(stored)})
    return Response(body, 201, {"Cache-Control": "no-store"}, "application/json")


@router.delete(
    "/{key_id}", summary="Revoke a key", responses={200: {"model": ApiKey}, **problems(404)}, response_class=Response
)
def revoked(
    request: Request, services: ServicesDep, caller: CallerDep, key_id: Annotated[str, Path(pattern="^[0-9a-f]{12}$")]
) -> Response:
    with services.database.change() as connection:
        done = keys.revoke(connection, key_id)
        found = [k for k in keys.listed(connection) if k.id == key_id]
        if done:
            record(connection, key_event("api-key.revoke", found[0], caller.name, address(request)))
    if not done:
        raise Problem(NOT_FOUND, f"There is no valid key {key_id}.", "GET /v1/api-keys lists them.")
    return momentary_answer(request, _shown(found[0]))


def _shown(key: StoredKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    }
