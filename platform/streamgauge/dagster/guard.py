"""The guard before Dagster's web server, which itself asks nobody who he is and takes mutations from everywhere: by
GET, under any host name, from any site's page. It stands before all paths.
"""

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.audit.entry import AuditEvent
from streamgauge.dagster.mutations import GRAPHQL, change_of
from streamgauge.errors import UserError
from streamgauge.web.origin import address, from_this_machine, is_foreign

READ_ONLY = "streamgauge.read_only"
"""In the scope of a request that was let in: whether its sender may change nothing."""

_OPEN = "/server_info"
"""Versions, for whoever asks whether the server is ready."""
_MAX_BODY = 8 << 20
"""Bytes of a request that changes something: it is held until the audit log has it."""


class Key(Protocol):
    """An API key, as far as it matters here."""

    @property
    def id(self) -> str: ...

    @property
    def scopes(self) -> tuple[str, ...]: ...


class Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Guard:
    """`own_url`: where people find Dagster's pages. `anonymous`: whether who asks from this machine may do everything.
    `look_up`: what is known of a valid API key, None for any other text. `record`: keeps what is about to be changed,
    without which nothing is. Both raise UserError where that isn't possible now. `reading` and `changing`: the scopes
    that are needed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        own_url: str | None,
        anonymous: bool,
        look_up: Callable[[str], Key | None],
        record: Callable[[AuditEvent], None],
        reading: Iterable[str],
        changing: str,
    ) -> None:
        self._app = app
        self._own_url = own_url
        self._anonymous = anonymous
        self._look_up = look_up
        self._record = record
        self._reading = frozenset(reading)
        self._changing = changing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            check_origin(connection, self._own_url)
            if scope["path"] != _OPEN:
                key = await self._key(connection)
                may_change = key is None or self._changing in key.scopes
                scope[READ_ONLY] = not may_change
                if may_change and scope.get("method") == "POST":
                    receive = await self._recorded(connection, key, receive)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        await self._app(scope, receive, _unframed(send))

    async def _key(self, connection: HTTPConnection) -> Key | None:
        """None for who asks from this machine, where that is enough."""
        key = key_of(connection.headers)
        if key is None:
            if self._anonymous and from_this_machine(connection):
                return None
            raise Refused(401, "An API key is needed: as the password of any user name, or as a bearer token.")
        try:
            found = await run_in_threadpool(self._look_up, key)
        except UserError as e:
            raise Refused(503, e.what) from e
        if found is None:
            raise Refused(401, "The API key is unknown, revoked or expired.")
        if not self._reading <= frozenset(found.scopes):
            raise Refused(
                403, f"The API key lacks a scope: Dagster is for keys with {', '.join(sorted(self._reading))}."
            )
        return found

    async def _recorded(self, connection: HTTPConnection, key: Key | None, receive: Receive) -> Receive:
        body = await _whole(receive)
        change = change_of(connection.scope["path"], body)
        if change is not None:
            actor = "anonymous" if key is None else key.id
            event = AuditEvent(
                "dagster.change", change.what, actor, address(connection), after={"variables": change.variables}
            )
            try:
                await run_in_threadpool(self._record, event)
            except UserError as e:
                raise Refused(503, e.what) from e
        return _again(body, receive)


def check_origin(connection: HTTPConnection, own_url: str | None) -> None:
    """Raises Refused for what a web page elsewhere could make a browser send, and changes something if it arrives."""
    if is_foreign(connection, own_url):
        raise Refused(
            403,
            "Refused: this comes from another site's page, or asks for Dagster under a name that is not its own. "
            "If people find Dagster under that name, say so in STREAMGAUGE_DAGSTER_URL.",
        )
    if connection.scope["type"] == "websocket":
        return
    method = connection.scope["method"]
    if method in ("GET", "HEAD"):
        if connection.scope["path"] == GRAPHQL and connection.scope["query_string"]:
            raise Refused(405, "GraphQL is taken by POST only: a GET could be any page's image.")
    elif _media_type(connection.headers) != "application/json":
        raise Refused(415, "Only application/json is taken: a form of any page could send the rest.")


def key_of(headers: Headers) -> str | None:
    """The API key that a request bears, as a bearer token or as the password that a browser asked for."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    elif scheme.lower() != "bearer":
        return None
    return value


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused(400, "The request ended before its body.")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        if sum(map(len, parts)) > _MAX_BODY:
            raise Refused(413, f"A request that changes something has {_MAX_BODY >> 20} MiB at most.")
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body once more, and then what comes after it."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _unframed(send: Send) -> Send:
    """Within another site's frame the clicks on our page would be that site's."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return sending


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = {"WWW-Authenticate": 'Basic realm="Dagster"'} if refused.status == 401 else None
    await PlainTextResponse(refused.why + "\n", refused.status, headers)(scope, receive, send)
