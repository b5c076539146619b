"""Reads platform/access.yaml, and tells each mistake with its line."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from streamgauge.access.model import Access, Api, Principal, Scope
from streamgauge.contract.document import Document, Place, read_document, refuse
from streamgauge.settings import ROLES

OWNER = "admin"
ANONYMOUS = "anonymous"
"""Who asks without a key where that is allowed."""


def load_access(file: Path, streams: Collection[str] | None = None) -> Access:
    """Raises UserError with all mistakes in it. `streams` are those that there are, where that is known."""
    document = read_document(file, "access file")
    access = _shaped(document)
    if access is not None:
        for place, message in _mistakes(access, streams):
            document.add(place, message)
    refuse(document.mistakes, [file])
    assert access is not None
    return access


def _shaped(document: Document) -> Access | None:
    if document.mistaken(()):
        return None
    try:
        return Access.model_validate(document.data)
    except ValidationError as e:
        for error in e.errors():
            # pydantic's way of saying that the key is wrong, and not what stands under it
            place = tuple(part for part in error["loc"] if part != "[key]")
            document.add(place, _text(error["type"], error["msg"]))
        return None


def _text(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key; take it out"
    return message[:1].lower() + message[1:]


def _mistakes(access: Access, streams: Collection[str] | None) -> Iterable[tuple[Place, str]]:
    for role in ROLES:
        if role not in access.principals:
            yield ("principals",), f"lacks {role}, as which processes log in; give it at least its `about`"
    for name, principal in access.principals.items():
        for key, message in _of_principal(name, principal, streams):
            yield ("principals", name, key), message
    for place, message in _of_api(access.api):
        yield ("api", *place), message


def _of_principal(name: str, p: Principal, streams: Collection[str] | None) -> Iterable[tuple[str, str]]:
    if p.owner != (name == OWNER):
        yield "owner", f"{OWNER} is the owner, and nobody else: the servers know one"
    beside = [key for key in ("postgres", "redis", "database", "member_of") if getattr(p, key)]
    if p.owner and (p.kafka or beside):
        yield (beside or ["kafka"])[0], "the owner may do everything already; take this out"
    if p.streams is not None and (beside or not p.kafka):
        yield "streams", "limits the topics of a login that has rights in Kafka and nowhere else"
    for stream in p.streams or ():
        if streams is not None and stream not in streams:
            yield "streams", f"there is no stream {stream}; the streams are {', '.join(sorted(streams))}"
    if p.redis is not None and bool(p.redis.keys) == (p.redis.commands == "figures"):
        yield "redis", "to read or write needs keys, and figures are of no key"


def _of_api(api: Api) -> Iterable[tuple[Place, str]]:
    for scope in get_args(Scope):
        if scope not in api.scopes:
            yield ("scopes",), f"lacks {scope}, which the code asks for"
    seen: set[str] = set()
    for place, route in _routes(api):
        if route in seen:
            yield place, f"{route} stands twice; one place says what it asks for"
        seen.add(route)
    for scope, opened in api.scopes.items():
        for n, route in enumerate(opened.routes):
            if opened.of_streams and "{stream}" not in route:
                yield ("scopes", scope, "routes", n), "names no {stream}, for which the scope would be needed"
    if ANONYMOUS not in api.callers:
        yield ("callers",), f"lacks {ANONYMOUS}: give it no scopes where nobody may ask without a key"
    for name, caller in api.callers.items():
        for n, scope in enumerate(caller.scopes):
            yield from ((("callers", name, "scopes", n), m) for m in _of_scope(api, scope))
    for n, scope in enumerate(api.dagster.see):
        yield from ((("dagster", "see", n), m) for m in _of_scope(api, scope))
    yield from ((("dagster", "change"), m) for m in _of_scope(api, api.dagster.change))


def _routes(api: Api) -> Iterable[tuple[Place, str]]:
    yield from ((("open", n), route) for n, route in enumerate(api.open))
    yield from ((("any", n), route) for n, route in enumerate(api.any))
    for scope, opened in api.scopes.items():
        yield from ((("scopes", scope, "routes", n), route) for n, route in enumerate(opened.routes))


def _of_scope(api: Api, scope: str) -> Iterable[str]:
    name, colon, stream = scope.partition(":")
    found = next((s for known, s in api.scopes.items() if known == name), None)
    if found is None:
        yield f"there is no scope {name}; the scopes are {', '.join(api.scopes)}"
    elif found.of_streams and not stream:
        yield f"{name} is for a stream; write {name}:STREAM, or {name}:* for all"
    elif colon and not found.of_streams:
        yield f"{name} is for no stream; write {name}"
