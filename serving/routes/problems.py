"""What the types of problem details lead to."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from serving.depends import problems
from serving.formats import json_answer
from serving.problems import KINDS, NOT_FOUND, Problem
from serving.schemas import ProblemKind, ProblemKinds

router = APIRouter(tags=["about"])


@router.get("/v1/problems", summary="Every kind of error", responses={200: {"model": ProblemKinds}, **problems()})
def kinds(request: Request) -> Response:
    return json_answer(request, {"problems": [_shown(name) for name in KINDS]})


@router.get(
    "/v1/problems/{name}",
    summary="What an error means, and what to do",
    responses={200: {"model": ProblemKind}, **problems(404)},
)
def kind(request: Request, name: Annotated[str, Path(max_length=64)]) -> Response:
    if name not in KINDS:
        raise Problem(NOT_FOUND, f"There is no problem {name!r}.", f"There are {', '.join(KINDS)}.")
    return json_answer(request, _shown(name))


def _shown(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    return {"type": kind.type, "title": kind.title, "status": kind.status, "hint": kind.remedy}
