"""What the registry's answers mean, and which of them are worth another try."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from streamgauge.records.decode import UnusableSchema
from streamgauge.records.registry import Incompatible, Registry, RegistryError, RegistryUnavailable, SchemaNotFound

SCHEMA: dict[str, Any] = {"type": "record", "name": "R", "fields": []}
Handler = Callable[[httpx.Request], httpx.Response]


def registry(handler: Handler, attempts: int = 3) -> Registry:
    return Registry("http://registry/apis/ccompat/v7", attempts=attempts, transport=httpx.MockTransport(handler))


def test_a_schema_is_asked_for_once() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"schema": json.dumps(SCHEMA)})

    client = registry(answer)
    assert client.find_schema(7) == client.find_schema(7) == SCHEMA
    assert asked == ["/apis/ccompat/v7/schemas/ids/7"]


def test_an_unknown_id_is_not_asked_for_again_and_is_no_outage() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})

    assert registry(answer).find_schema(7) is None
    assert len(asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(status: int) -> None:
    answers = [httpx.Response(status), httpx.Response(200, json={"schema": json.dumps(SCHEMA)})]
    assert registry(lambda _: answers.pop(0)).find_schema(7) == SCHEMA


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"schema": 'syntax = "proto3"; message R {}', "schemaType": "PROTOBUF"}),
        httpx.Response(200, json={"schema": "{}", "schemaType": "JSON"}),
        httpx.Response(200, json={"schema": "{no JSON"}),
        httpx.Response(200, json={"schema": None}),
        httpx.Response(200, json={}),
        httpx.Response(400, json={"message": "no such format"}),
        httpx.Response(410, json={"message": "gone"}),
        httpx.Response(422, json={"message": "not an id"}),
    ],
    ids=lambda r: f"{r.status_code} {r.text[:40]}",
)
def test_what_is_wrong_with_one_schema_is_reported_of_it(answer: httpx.Response) -> None:
    with pytest.raises(UnusableSchema):
        registry(lambda _: answer).find_schema(7)


NO_SUCH_SCHEMA = httpx.Response(404, json={"error_code": 40403, "message": "Schema not found"})


def test_a_registry_that_fails_for_one_id_only_is_not_away() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/ids/7"):
            return httpx.Response(500, json={"message": "null pointer"})
        return NO_SUCH_SCHEMA

    client = registry(answer, attempts=1)
    for _ in range(2):
        with pytest.raises(RegistryUnavailable):
            client.find_schema(7)
    with pytest.raises(UnusableSchema, match="null pointer"):
        client.find_schema(7)


def test_an_outage_is_never_a_schemas_fault_however_often_it_is_met() -> None:
    """Its store is away for four tries and comes back within the last of them."""
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return httpx.Response(500, json={"message": "no connection to the store"}) if asked < 8 else NO_SUCH_SCHEMA

    client = registry(answer, attempts=1)
    for _ in range(4):
        with pytest.raises(RegistryUnavailable):
            client.find_schema(7)
    assert asked == 8
    assert client.find_schema(7) is None


@pytest.mark.parametrize("status", [401, 403, 407])
def test_a_refused_login_is_waited_for(status: int) -> None:
    client = registry(lambda _: httpx.Response(status, json={"message": "no"}), attempts=1)
    for _ in range(5):
        with pytest.raises(RegistryUnavailable, match="refuses this login"):
            client.find_schema(7)


def test_away_is_not_the_same_as_unknown() -> None:
    asked: list[int] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(1)
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(RegistryUnavailable, match="connection refused"):
        registry(refuse).find_schema(7)
    assert len(asked) == 3 + 1  # the last, whether it answers for another id
    assert not issubclass(RegistryUnavailable, SchemaNotFound)


def test_a_page_that_is_no_json_is_an_outage() -> None:
    with pytest.raises(RegistryUnavailable, match="no JSON"):
        registry(lambda _: httpx.Response(200, text="<html>starting</html>"), attempts=1).find_schema(7)


def test_the_reasons_against_a_schema() -> None:
    reasons = ["field colour has no default"]

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["verbose"] == "true"
        return httpx.Response(200, json={"is_compatible": False, "messages": reasons})

    assert registry(answer).incompatibilities("s-value", SCHEMA) == tuple(reasons)


def test_a_reason_that_apicurio_only_gives_to_a_dry_run() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "/ccompat/" in request.url.path:
            return httpx.Response(200, json={"is_compatible": False})
        assert request.url.path == "/apis/registry/v3/groups/default/artifacts/s-value/versions"
        assert request.url.params["dryRun"] == "true"
        return httpx.Response(400, json={"title": "wrong type at /fields/1/type", "name": "RuleViolationException"})

    schema = {**SCHEMA, "fields": [{"name": "id", "type": "string"}, {"name": "size", "type": "int"}]}
    assert registry(answer).incompatibilities("s-value", schema) == ("wrong type at /fields/1 (size)/type",)


def test_a_first_version_is_compatible_with_nothing() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"message": "no such subject"})

    client = registry(answer)
    assert client.incompatibilities("s-value", SCHEMA) == ()
    assert client.latest("s-value") is None
    assert client.level("s-value") is None


def test_a_refused_registration_says_why() -> None:
    with pytest.raises(Incompatible, match=r"s-value.*no default") as caught:
        registry(lambda _: httpx.Response(409, json={"message": "no default"})).register("s-value", SCHEMA)
    assert caught.value.subject == "s-value"


def test_any_other_refusal_is_an_error() -> None:
    with pytest.raises(RegistryError, match="422 not Avro"):
        registry(lambda _: httpx.Response(422, json={"message": "not Avro"})).register("s-value", SCHEMA)
