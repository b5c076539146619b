"""Saved views: questions that a caller keeps for himself, or for all who may read their stream."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving import saved_views
from serving.access import Caller
from serving.depends import CallerDep, KeyHolderDep, ServicesDep, problems, readable
from serving.formats import json_bytes, momentary_answer
from serving.problems import CONFLICT, FORBIDDEN, NOT_FOUND, Problem
from serving.saved_views import PER_OWNER, Draft, View
from serving.schemas import SavedView, SavedViews
from serving.services import Services
from streamgauge.stores.postgres import Connection

router = APIRouter(prefix="/v1/saved-views", tags=["saved views"])

ViewId = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]


class ViewWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$", description="As people look for it.")
    stream: str = Field(min_length=1, max_length=100, description="Such as user_events.")
    question: str = Field(
        max_length=4000, pattern="^[!-~]*$", description="What the page's address has after `?`, such as by=event_type."
    )
    shared: bool = Field(default=False, description="Whether all who may read the stream see it.")


@router.get(
    "",
    summary="Own and shared views of streams that the caller may read",
    responses={200: {"model": SavedViews}, **problems()},
)
def listed(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    with services.database.snapshot() as connection:
        found = saved_views.listed(connection, caller.name)
    return momentary_answer(request, {"views": [_shown(v, caller) for v in found if caller.may_read(v.stream)]})


@router.post(
    "",
    summary="Save a view",
    status_code=201,
    responses={201: {"model": SavedView}, **problems(404, 409)},
    response_class=Response,
)
def created(services: ServicesDep, caller: KeyHolderDep, wanted: ViewWanted) -> Response:
    draft = _checked(services, caller, wanted)
    with services.database.change() as connection:
        view_id = saved_views.create(connection, caller.name, draft)
        if view_id is None:
            raise Problem(CONFLICT, f"The key has {PER_OWNER} saved views, and may not have more.", "Delete some.")
        made = _find(connection, caller, view_id)
    return Response(json_bytes(_shown(made, caller)), 201, {"Cache-Control": "no-store"}, "application/json")


@router.put(
    "/{view_id}",
    summary="Replace a view of one's own; the last who writes wins",
    responses={200: {"model": SavedView}, **problems(404)},
    response_class=Response,
)
def replaced(
    request: Request, services: ServicesDep, caller: KeyHolderDep, view_id: ViewId, wanted: ViewWanted
) -> Response:
    draft = _checked(services, caller, wanted)
    with services.database.change() as connection:
        _require_own(_find(connection, caller, view_id), caller)
        saved_views.replace(connection, view_id, caller.name, draft)
        made = _find(connection, caller, view_id)
    return momentary_answer(request, _shown(made, caller))


@router.delete(
    "/{view_id}",
    summary="Delete a view of one's own; with the scope `admin` also a shared one of another key",
    responses={200: {"model": SavedView}, **problems(404)},
    response_class=Response,
)
def deleted(request: Request, services: ServicesDep, caller: KeyHolderDep, view_id: ViewId) -> Response:
    with services.database.change() as connection:
        found = _find(connection, caller, view_id)
        if not caller.administers:
            _require_own(found, caller)
        saved_views.delete(connection, view_id)
    return momentary_answer(request, _shown(found, caller))


def _checked(services: Services, caller: Caller, wanted: ViewWanted) -> Draft:
    """Raises a problem for a stream that there is not, or that the caller may not read."""
    readable(services, caller, wanted.stream)
    return Draft(wanted.name, wanted.stream, wanted.question, wanted.shared)


def _find(connection: Connection, caller: Caller, view_id: str) -> View:
    """Of what the caller doesn't see, it isn't even said that it is there."""
    found = saved_views.find(connection, view_id)
    if found is None or not caller.may_read(found.stream) or not (found.shared or found.owner == caller.name):
        raise Problem(NOT_FOUND, f"There is no saved view {view_id}.", "GET /v1/saved-views lists them.")
    return found


def _require_own(view: View, caller: Caller) -> None:
    if view.owner != caller.name:
        raise Problem(FORBIDDEN, f"The view belongs to {view.owner_name}.", "Save one of your own.")


def _shown(view: View, caller: Caller) -> dict[str, Any]:
    return {
        "id": view.id,
        "name": view.name,
        "stream": view.stream,
        "question": view.question,
        "shared": view.shared,
        "owner": view.owner_name,
        "own": view.owner == caller.name,
        "created_at": view.created_at,
        "changed_at": view.changed_at,
    }
