"""The guard before Dagster's web server, which itself asks nobody who he is and takes mutations from everywhere: by
GET, under any host name, from any site's page. It stands before all paths.
"""

import base64
import binascii
from collections.abc import Callable, Iterable

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.errors import UserError
from streamgauge.web.origin import from_this_machine, is_foreign

READ_ONLY = "streamgauge.read_only"
"""In the scope of a request that was let in: whether its sender may change nothing."""

_OPEN = "/server_info"
"""Versions, for whoever asks whether the server is ready."""
_GRAPHQL = "/graphql"

Scopes = Iterable[str]


class Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class Guard:
    """`own_url`: where people find Dagster's pages. `anonymous`: whether who asks from this machine may do everything.
    `look_up`: the scopes of a valid API key, None for any other text; UserError where that can't be found out now.
    `reading` and `changing`: the scopes that are needed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        own_url: str | None,
        anonymous: bool,
        look_up: Callable[[str], Scopes | None],
        reading: Scopes,
        changing: str,
    ) -> None:
        self._app = app
        self._own_url = own_url
        self._anonymous = anonymous
        self._look_up = look_up
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
                scope[READ_ONLY] = not await self._may_change(connection)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        await self._app(scope, receive, _unframed(send))

    async def _may_change(self, connection: HTTPConnection) -> bool:
        key = key_of(connection.headers)
        if key is None:
            if self._anonymous and from_this_machine(connection):
                return True
            raise Refused(401, "An API key is needed: as the password of any user name, or as a bearer token.")
        try:
            found = await run_in_threadpool(self._look_up, key)
        except UserError as e:
            raise Refused(503, e.what) from e
        if found is None:
            raise Refused(401, "The API key is unknown, revoked or expired.")
        scopes = frozenset(found)
        if not self._reading <= scopes:
            raise Refused(
                403, f"The API key lacks a scope: Dagster is for keys with {', '.join(sorted(self._reading))}."
            )
        return self._changing in scopes


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
        if connection.scope["path"] == _GRAPHQL and connection.scope["query_string"]:
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
