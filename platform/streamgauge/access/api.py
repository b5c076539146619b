"""What each scope of an API key opens."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from streamgauge.access.model import Api, Scope


@dataclass(frozen=True)
class Rule:
    """What a route asks for: a key at all, and which scope of it."""

    key: bool = True
    scope: Scope | None = None
    of_stream: bool = False
    """The scope for the stream that the route's path names."""


def rules(api: Api) -> dict[str, Rule]:
    """By method and path, such as `GET /v1/streams/{stream}`."""
    found = dict.fromkeys(api.open, Rule(key=False)) | dict.fromkeys(api.any, Rule())
    for scope, opened in api.scopes.items():
        found |= dict.fromkeys(opened.routes, Rule(scope=scope, of_stream=opened.of_streams))
    return found


def known_scopes(api: Api, streams: Collection[str]) -> tuple[str, ...]:
    """All that a key may have."""
    return tuple(_known(api, streams))


def unruled(given: Mapping[str, Rule], routes: Collection[str]) -> list[str]:
    """What the file says of routes that there are not, and the routes of which it says nothing."""
    gone = [f"there is no {route}, which it names" for route in given if route not in routes]
    return gone + [f"it does not say what {route} asks for" for route in routes if route not in given]


def _known(api: Api, streams: Collection[str]) -> Iterator[str]:
    for scope, opened in api.scopes.items():
        yield from (f"{scope}:{stream}" for stream in ("*", *streams)) if opened.of_streams else (scope,)
