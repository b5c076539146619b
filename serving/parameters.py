"""Refuses query parameters that a route does not have: a misspelt one would change the answer without a word."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant

from serving.problems import INVALID, Problem


async def known_parameters(request: Request) -> None:
    """A dependency of every route. Raises a problem (422) for a parameter that the route does not have, and for one
    that was given several times and may be given once."""
    asked = [name for name, _ in request.query_params.multi_items()]
    if not asked:
        return
    known = dict(_parameters(request.scope["route"].dependant))
    unknown = list(dict.fromkeys(name for name in asked if name not in known))
    if unknown:
        shown = ", ".join(map(repr, unknown))
        raise Problem(
            INVALID,
            f"There is no parameter {shown} here.",
            _hint(unknown[0], list(known)),
            errors=tuple((name, "There is no such parameter.") for name in unknown),
        )
    for name in dict.fromkeys(asked):
        if asked.count(name) > 1 and not known[name]:
            raise Problem(INVALID, f"{name} was given {asked.count(name)} times.", "Give it once.", parameter=name)


def _hint(name: str, known: list[str]) -> str:
    if not known:
        return "This path takes no parameters."
    close = get_close_matches(name.lower().replace("-", "_"), known, 1)
    meant = f"Did you mean {close[0]!r}? " if close else ""
    return f"{meant}The parameters are {', '.join(known)}."


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Names of query parameters, each with whether it may be given several times."""
    for field in dependant.query_params:
        yield field.alias, _is_list(field.field_info.annotation)
    for below in dependant.dependencies:
        yield from _parameters(below)


def _is_list(annotation: Any) -> bool:
    return list in (annotation, get_origin(annotation)) or any(map(_is_list, get_args(annotation)))
