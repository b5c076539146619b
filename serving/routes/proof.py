"""A final number with its proof."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from serving.depends import ServicesDep, StreamDep, problems
from serving.formats import json_answer
from serving.problems import CONFLICT, INVALID, NOT_FOUND, Problem
from serving.rollups.asked import filters_of, parse_time
from serving.routes.rollups import Words
from serving.schemas import Proof
from streamgauge.errors import UserError
from streamgauge.proof.number import Asked, NoSuchNumber, NotProvable, prove

router = APIRouter(tags=["numbers"])


@router.get(
    "/v1/streams/{stream}/proof",
    summary="A final number with all that is needed to make it again from the lake",
    responses={200: {"model": Proof}, **problems(404, 409)},
)
def proof(
    request: Request,
    services: ServicesDep,
    contract: StreamDep,
    start: Annotated[str, Query(max_length=64, description="Where the window starts.")],
    figure: Annotated[str, Query(max_length=100, description="Such as count, or a measure's mean.")] = "count",
    window: Literal["1m", "5m", "1h"] = "1h",
    where: Annotated[Words, Query(description="dimension:value, once a dimension.")] = None,
) -> Response:
    begin = parse_time("start", start)
    assert begin is not None
    members = filters_of(contract, where)
    several = [name for name, values in members.items() if len(values) > 1]
    if several:
        raise Problem(INVALID, f"{several[0]} has several values.", "Ask for one number at a time.", parameter="where")
    asked = Asked(contract.stream, window, begin, figure, {name: values[0] for name, values in members.items()})
    try:
        with services.database.snapshot() as connection:
            found = prove(connection, contract, asked)
    except NoSuchNumber as e:
        raise Problem(NOT_FOUND, f"{e.what}.", f"{e.hint}.") from e
    except NotProvable as e:
        raise Problem(CONFLICT, f"{e.what}.", f"{e.hint}.") from e
    except UserError as e:
        raise Problem(INVALID, f"{e.what}.", f"{e.hint}.") from e
    return json_answer(request, found.as_json())
