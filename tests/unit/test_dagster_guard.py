"""What the guard before Dagster's web server takes for another site's page, and for a key."""

import base64

import pytest
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from streamgauge.dagster.guard import Refused, check_origin, key_of
from streamgauge.web.origin import from_this_machine

OWN = "https://dagster.example"
LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def asked(
    method: str = "GET", path: str = "/", query: str = "", client: str = "127.0.0.1", **headers: str
) -> HTTPConnection:
    given = {"host": "127.0.0.1:3000", **headers}
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in given.items()]
    return HTTPConnection(
        {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": raw,
            "client": (client, 1),
        }
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:3000"},
        {"host": "[::1]:3000"},
        {"host": "dagster.example"},
        {"host": "dagster.example", "origin": OWN, "Sec-Fetch-Site": "same-origin"},
        {"host": "127.0.0.1:3000", "origin": OWN, "Sec-Fetch-Site": "same-origin"},  # behind a proxy
        {"origin": "http://127.0.0.1:3000"},
        {"Sec-Fetch-Site": "none", **LINK},
        {"Sec-Fetch-Site": "cross-site", **LINK},
    ],
)
def test_its_own_pages_and_links_to_them_are_let_in(headers: dict[str, str]) -> None:
    check_origin(asked(**headers), OWN)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "rebound.example"},
        {"host": ""},
        {"host": "127.0.0.1.rebound.example"},
        {"host": "localhost.rebound.example:3000"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://[127.0.0.1:3000"},
        {"origin": "http://127.0.0.1:3000@evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", **LINK, "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", **LINK, "origin": "http://evil.example"},
    ],
)
def test_what_another_site_could_have_sent_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        check_origin(asked(**headers), OWN)
    assert refused.value.status == 403


def test_where_no_address_is_known_only_loopback_names_are_its_own() -> None:
    check_origin(asked(), None)
    for host in ("", "dagster.example"):
        with pytest.raises(Refused):
            check_origin(asked(host=host), None)


@pytest.mark.parametrize(
    ("method", "path", "query", "kind", "status"),
    [
        ("GET", "/graphql", "query=x", "", 405),
        ("HEAD", "/graphql", "query=x", "", 405),
        ("POST", "/graphql", "", "text/plain", 415),
        ("POST", "/graphql", "", "text/plain; application/json", 415),
        ("POST", "/graphql", "", "multipart/form-data; boundary=x", 415),
        ("POST", "/graphql", "", "application/graphql", 415),
        ("POST", "/report_asset_check/x", "", "", 415),
    ],
)
def test_only_json_by_post_changes_something(method: str, path: str, query: str, kind: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        check_origin(asked(method, path, query, content_type=kind), OWN)
    assert refused.value.status == status


def test_what_the_pages_send_is_taken() -> None:
    check_origin(asked("POST", "/graphql", content_type="application/json"), OWN)
    check_origin(asked("POST", "/graphql", content_type="application/json; charset=utf-8"), OWN)
    check_origin(asked("GET", "/graphql"), OWN)
    check_origin(asked("GET", "/runs", "q=x"), OWN)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (None, None),
        ("Bearer sg_1", "sg_1"),
        (f"Basic {base64.b64encode(b'me:sg_1').decode()}", "sg_1"),
        (f"Basic {base64.b64encode(b'sg_1').decode()}", ""),
        ("Basic =", ""),
        ("Digest x", None),
    ],
)
def test_a_key_is_a_bearer_token_or_a_password(given: str | None, key: str | None) -> None:
    assert key_of(Headers({"Authorization": given} if given else {})) == key


@pytest.mark.parametrize(
    ("client", "headers", "local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {"host": "[::1]:1"}, True),
        ("192.0.2.7", {}, False),
        ("127.0.0.1", {"host": "rebound.example"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, False),
    ],
)
def test_who_asks_from_this_machine(client: str, headers: dict[str, str], local: bool) -> None:
    assert from_this_machine(asked(client=client, **headers)) == local
