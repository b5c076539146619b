"""What the API promises besides the numbers: every error as problem details, who may see what, and its own document."""

import io
import json
import logging
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance
from starlette.testclient import TestClient

from serving.problems import KINDS
from streamgauge.apply.execute import apply
from streamgauge.contract.load import load_contracts
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import CHECKOUT, CONTRACTS, Settings
from streamgauge.state import api_keys as keys
from streamgauge.state.api_keys import PERSONAL
from streamgauge.state.pseudonyms import keep_values
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from streamgauge.telemetry.logs import configure_logs
from tests.integration.serving_client import in_process, proxied, served

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def applied(stack: Any) -> None:
    apply(Settings.for_role("admin"), load_contracts(CONTRACTS))


@pytest.fixture(scope="module")
def client(applied: None) -> Generator[TestClient]:
    with in_process(CONTRACTS) as built:
        yield built


def key(*scopes: str) -> dict[str, str]:
    with connect(Settings.for_role("admin")) as connection:
        return {"Authorization": f"Bearer {keys.create(connection, 'test', scopes)[0]}"}


def assert_problem(client: TestClient, answer: Any, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (status, f"/v1/problems/{kind}")
    assert body["detail"] and body["hint"] and body["title"] == KINDS[kind].title
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["trace_id"] == answer.headers["x-trace-id"]
    assert client.get(body["type"]).json()["status"] == KINDS[kind].status
    return body


ROLLUPS = "/v1/streams/user_events/rollups"


@pytest.mark.parametrize(
    ("path", "status", "kind", "parameter"),
    [
        ("/v1/nix", 404, "not-found", None),
        ("/v1/streams/nix", 404, "not-found", None),
        ("/v1/streams/nix/rollups", 404, "not-found", None),
        ("/v1/streams/user_events/top?top=nix", 404, "not-found", "top"),
        ("/v1/streams/user_events/reports/2001-01-01", 404, "not-found", None),
        ("/v1/reconciliation/user_events/2001-01-01T00:00Z", 404, "not-found", None),
        ("/v1/lineage/no-such-event", 404, "not-found", None),
        ("/v1/problems/nix", 404, "not-found", None),
        (f"{ROLLUPS}?window=7m", 422, "invalid-parameter", "window"),
        (f"{ROLLUPS}?window=1m&hop=5m", 422, "invalid-parameter", "hop"),
        (f"{ROLLUPS}?window=1d&hop=1m", 422, "invalid-parameter", "hop"),
        (f"{ROLLUPS}?from=yesterday", 422, "invalid-parameter", "from"),
        (f"{ROLLUPS}?from=1900-01-01", 422, "invalid-parameter", "from"),
        (f"{ROLLUPS}?from=2026-01-02&to=2026-01-01", 422, "invalid-parameter", "to"),
        (f"{ROLLUPS}?from=2020-01-01&to=2026-01-01", 422, "range-too-long", "from"),
        (f"{ROLLUPS}?window=range&from=2026-01-01", 422, "invalid-parameter", "to"),
        (f"{ROLLUPS}?window=range&from=2026-01-01&to=2026-01-02T00:00:01Z", 422, "invalid-parameter", "to"),
        (f"{ROLLUPS}?window=range&from=2024-01-01&to=2026-01-01", 422, "range-too-long", "from"),
        (f"{ROLLUPS}?window=range&hop=1m&from=2026-01-01&to=2026-01-02", 422, "invalid-parameter", "hop"),
        (f"{ROLLUPS}/sql?group_by=nix", 422, "invalid-parameter", "group_by"),
        (f"{ROLLUPS}?group_by=nix", 422, "invalid-parameter", "group_by"),
        (f"{ROLLUPS}?where=nix:1", 422, "invalid-parameter", "where"),
        (f"{ROLLUPS}?where=event_type", 422, "invalid-parameter", "where"),
        (f"{ROLLUPS}?measures=nix", 422, "invalid-parameter", "measures"),
        (f"{ROLLUPS}?limit=0", 422, "invalid-parameter", "limit"),
        (f"{ROLLUPS}?limit=100001", 422, "invalid-parameter", "limit"),
        (f"{ROLLUPS}?cursor=bm9uc2Vuc2U", 422, "invalid-parameter", "cursor"),
        (f"{ROLLUPS}?format=xml", 422, "invalid-parameter", "format"),
        ("/v1/streams/user_events/top?limit=101", 422, "invalid-parameter", "limit"),
        ("/v1/streams/user_events/top?from=2026-01-01", 422, "invalid-parameter", "to"),
        ("/v1/streams/user_events/top?from=2026-01-01&to=2026-06-01", 422, "range-too-long", "from"),
        ("/v1/streams/user_events/provenance", 422, "invalid-parameter", "start"),
        ("/v1/streams/user_events/provenance?start=2026-01-01T00:00:30Z", 422, "invalid-parameter", "start"),
        ("/v1/api-keys", 403, "scope-missing", None),
        (f"{ROLLUPS}?groupby=event_type", 422, "invalid-parameter", "groupby"),
        (f"{ROLLUPS}?window=1m&window=5m", 422, "invalid-parameter", "window"),
        ("/v1/streams?stream=user_events", 422, "invalid-parameter", "stream"),
        ("/v1/health/live?x", 422, "invalid-parameter", "x"),
    ],
)
def test_errors_say_what_to_change(
    client: TestClient, path: str, status: int, kind: str, parameter: str | None
) -> None:
    body = assert_problem(client, client.get(path), status, kind)
    assert [e["parameter"] for e in body.get("errors", [])] == ([parameter] if parameter else [])


def test_every_route_refuses_unknown_parameters(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    values = {
        "stream": "user_events",
        "day": "2026-01-01",
        "hour": "2026-01-01T00",
        "event_id": "x",
        "key_id": "0" * 12,
        "view_id": "0" * 12,
        "name": "busy",
    }
    asked = 0
    for path, operations in document["paths"].items():
        for method in operations:
            answer = client.request(method, path.format_map(values) + "?no_such_parameter=1")
            assert_problem(client, answer, 422, "invalid-parameter")
            asked += 1
    assert asked >= 18


def test_a_misspelt_parameter_is_guessed(client: TestClient) -> None:
    body = client.get(f"{ROLLUPS}?groupBy=event_type").json()
    assert "Did you mean 'group_by'?" in body["hint"]
    assert client.get("/v1/streams?x=1").json()["hint"] == "This path takes no parameters."


def test_head_is_get_without_the_content(client: TestClient, tmp_path: Path) -> None:
    document = client.get("/v1/openapi.json").json()
    assert not [m for path in document["paths"].values() for m in path if m == "head"]
    for path in ("/", "/v1/streams", f"{ROLLUPS}?format=csv", "/v1/nix"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
    with served(CONTRACTS, tmp_path) as api:
        head = api.client.head("/v1/streams/user_events/live", timeout=5)
        assert head.headers["content-type"].startswith("text/event-stream")
        assert api.client.get("/v1/health/live").status_code == 200


def test_the_documented_line_of_polars_works(stack: Any, tmp_path: Path) -> None:
    (line,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "api.md").read_text(), re.DOTALL)
    with served(CONTRACTS, tmp_path) as api:
        names: dict[str, Any] = {}
        exec(line.replace("http://127.0.0.1:19010", api.url), names)
    assert names["rollups"].columns[:3] == ["window_start", "window_end", "event_type"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/streams/user_events/top",
        "/v1/streams/user_events/provenance?start=2026-01-01T00:00Z",
        "/v1/quality",
        "/v1/reconciliation",
        "/v1/alerts",
        "/v1/problems",
    ],
)
def test_what_did_not_change_is_not_sent_again(client: TestClient, path: str) -> None:
    tag = client.get(path).headers["etag"]
    again = client.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/v1/streams", "/v1/streams/user_events", "/v1/operations"])
def test_what_changes_with_the_clock_is_not_kept(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert "etag" not in answer.headers and answer.headers["cache-control"] == "no-store"


def test_a_cursor_belongs_to_its_question(client: TestClient) -> None:
    page = client.get(f"{ROLLUPS}?from=2026-01-01&to=2026-01-02&fill=zero&limit=5").json()
    assert client.get(page["next"]).status_code == 200
    answer = client.get(page["next"].replace("fill=zero", "fill=none"))
    assert_problem(client, answer, 422, "invalid-parameter")


def test_too_many_rows_are_refused_not_cut(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("plan", "read"):
        monkeypatch.setattr(f"serving.rollups.{module}.MAX_ROWS", 100)
    assert_problem(client, client.get(f"{ROLLUPS}?from=2026-01-01&to=2026-01-02&fill=zero"), 422, "too-many-rows")
    assert len(client.get(f"{ROLLUPS}?from=2026-01-01&to=2026-01-02&fill=zero&limit=101").json()["rows"]) == 101


def test_formats_and_methods(client: TestClient) -> None:
    assert_problem(client, client.get(ROLLUPS, headers={"Accept": "application/xml"}), 406, "not-acceptable")
    answer = client.post(ROLLUPS)
    assert_problem(client, answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


def test_a_slow_query_ends(stack: Any) -> None:
    with in_process(CONTRACTS, query_seconds=0.3) as client, connect(Settings.for_role("admin")) as holding:
        assert client.get(ROLLUPS).status_code == 200
        holding.execute("LOCK TABLE user_events_minutes IN ACCESS EXCLUSIVE MODE")
        assert_problem(client, client.get(ROLLUPS), 422, "too-slow")
        holding.rollback()
        assert client.get(ROLLUPS).status_code == 200


def test_who_asks_too_often_waits(stack: Any) -> None:
    with in_process(CONTRACTS, requests_per_second=1, burst=3) as client:
        answers = [client.get("/v1/streams") for _ in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert_problem(client, answers[-1], 429, "too-many-requests")
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert client.get("/v1/health/live").status_code == 200


def test_an_unforeseen_mistake_is_a_problem_too(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("not for the caller's eyes")

    monkeypatch.setattr("serving.routes.streams.read_state", broken)
    body = assert_problem(client, client.get("/v1/streams"), 500, "internal")
    assert "eyes" not in json.dumps(body)


# Who may see what


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"Host": "rebound.example"}),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}),
        ("127.0.0.1", {"Authorization": "Bearer nonsense"}),
        ("127.0.0.1", {"Authorization": f"Bearer sg_{'0' * 12}_{'A' * 43}"}),
    ],
)
def test_without_a_key_only_from_this_machine(applied: None, address: str, headers: dict[str, str]) -> None:
    with in_process(CONTRACTS, client=address) as client:
        for path in ("/v1/streams", ROLLUPS, "/v1/operations", "/v1/streams/user_events/live"):
            answer = client.get(path, headers=headers)
            assert_problem(client, answer, 401, "key-required")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/v1/health/live", headers=headers).status_code == 200


def test_anonymous_reading_can_be_turned_off(applied: None) -> None:
    with in_process(CONTRACTS, settings={"api_anonymous": "off"}) as client:
        assert_problem(client, client.get("/v1/streams"), 401, "key-required")
        assert client.get("/v1/streams", headers=key("read:*")).status_code == 200


def test_behind_a_proxy_nobody_reads_without_a_key(client: TestClient, tmp_path: Path) -> None:
    with served(CONTRACTS, tmp_path, anonymous="off") as api, proxied(api.url) as proxy:
        from_elsewhere = {"Host": "numbers.example"}
        for path in ("/v1/streams", ROLLUPS, "/v1/operations", "/v1/streams/user_events/live", "/v1/alerts"):
            assert httpx.get(f"{proxy}{path}", headers=from_elsewhere, timeout=20).status_code == 401, path
        with_key = {**from_elsewhere, **key("read:*")}
        assert httpx.get(f"{proxy}/v1/streams", headers=with_key, timeout=20).status_code == 200
        assert httpx.get(f"{proxy}/v1/health/ready", headers=from_elsewhere, timeout=20).status_code == 200


def test_a_key_opens_what_its_scopes_say(client: TestClient) -> None:
    one = key("read:user_events")
    assert [s["stream"] for s in client.get("/v1/streams", headers=one).json()["streams"]] == ["user_events"]
    assert client.get(ROLLUPS, headers=one).status_code == 200
    for path in ("rollups", "top", "live", "provenance?start=2026-01-01", "reports"):
        answer = client.get(f"/v1/streams/system_events/{path}", headers=one)
        assert_problem(client, answer, 403, "scope-missing")
    for path in ("/v1/quality", "/v1/reconciliation", "/v1/lineage/x"):
        assert_problem(client, client.get(f"{path}?stream=system_events", headers=one), 403, "scope-missing")
    for path in ("/v1/operations", "/v1/alerts", "/v1/health"):
        assert_problem(client, client.get(path, headers=one), 403, "scope-missing")
        assert client.get(path, headers=key("operations")).status_code == 200


def test_keys_are_made_listed_and_revoked(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.access._TRUSTED_SECONDS", 0.0)
    admin = key("admin")
    wanted = {"name": "dashboard", "scopes": ["read:user_events"], "days": 30}
    built = client.post("/v1/api-keys", json=wanted, headers=admin).json()
    own = {"Authorization": f"Bearer {built['key']}"}
    assert client.get(ROLLUPS, headers=own).status_code == 200
    listed = client.get("/v1/api-keys", headers=admin)
    assert built["id"] in {k["id"] for k in listed.json()["keys"]} and built["key"].split("_")[2] not in listed.text
    assert client.delete(f"/v1/api-keys/{built['id']}", headers=admin).status_code == 200
    assert_problem(client, client.get(ROLLUPS, headers=own), 401, "key-required")
    assert_problem(client, client.delete(f"/v1/api-keys/{built['id']}", headers=admin), 404, "not-found")
    bad = client.post("/v1/api-keys", json={**wanted, "scopes": ["read:nix"]}, headers=admin)
    assert_problem(client, bad, 422, "invalid-parameter")


def test_a_key_ends_when_its_time_is_over(client: TestClient) -> None:
    headers = key("read:*")
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(
            "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = %s",
            (headers["Authorization"].split("_")[1],),
        )
    assert_problem(client, client.get(ROLLUPS, headers=headers), 401, "key-required")


def test_only_a_hash_is_kept(client: TestClient) -> None:
    secret = key("read:*")["Authorization"].split("_", 2)[2]
    with connect(Settings.for_role("admin")) as connection:
        assert secret not in str(connection.execute("SELECT * FROM api_keys").fetchall())
    for role in ("reader", "worker", "batch"):
        with connect(Settings.for_role(role)) as connection, pytest.raises(Exception, match="permission denied"):
            connection.execute("SELECT * FROM api_keys")


def test_only_a_caller_with_the_scope_sees_what_pseudonyms_stand_for(client: TestClient) -> None:
    contract = next(c for c in load_contracts(CONTRACTS) if c.stream == "user_events")
    batch = Settings.for_role("batch")
    pseudonyms = pseudonyms_of(batch, contract)
    with connect(batch) as connection:
        keep_values(connection, contract.stream, pseudonyms, ["ann"])
        keep_values(connection, contract.stream, pseudonyms, ["ann"])
    ann, bob = pseudonyms.of("ann"), pseudonyms.of("bob")
    held = {
        "version": 2**62,
        "as_of": "2026-01-01T00:00:00Z",
        "watermark": None,
        "status": "provisional",
        "window": "1h",
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-01-01T01:00:00Z",
        "items": [{"key": key, "count": 2, "lower": 2, "upper": 2} for key in (ann, bob)],
        "exact": True,
        "error": 0,
    }
    redis = redis_client(Settings.for_role("admin"))
    for top in contract.rollup.top:
        redis.set(contract.redis_top_key(top.name, "1h"), json.dumps(held))
    try:
        path = "/v1/streams/user_events/top?top=users"
        (masked,) = client.get(path).json()["tops"]
        assert masked["masked"] and masked["source"] == "redis"
        assert [i["key"] for i in masked["items"]] == [ann, bob]
        (plain,) = client.get(path, headers=key("read:*", PERSONAL)).json()["tops"]
        assert [i["key"] for i in plain["items"]] == ["ann", bob] and not plain["masked"]
    finally:
        for top in contract.rollup.top:
            redis.delete(contract.redis_top_key(top.name, "1h"))


# What every answer has


def test_ids_are_in_answers_and_log_lines(client: TestClient) -> None:
    out = io.StringIO()
    configure_logs(Settings.for_role("api").model_copy(update={"log_format": "json"}), out)
    try:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        sent = {"X-Request-Id": "mine-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answer = client.get("/v1/streams", headers=sent)
        assert (answer.headers["x-request-id"], answer.headers["x-trace-id"]) == ("mine-1", trace)
        line = json.loads(out.getvalue().splitlines()[-1])
        assert (line["request_id"], line["trace_id"]) == ("mine-1", trace)
        assert client.get("/v1/streams", headers={"X-Request-Id": "a b\n"}).headers["x-request-id"] != "a b\n"
    finally:
        logging.getLogger().handlers.clear()


@pytest.mark.parametrize("path", ["/", "/v1/streams", "/v1/nix", "/v1/openapi.json"])
def test_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_large_answers_are_compressed(client: TestClient) -> None:
    path = f"{ROLLUPS}?from=2026-01-01&to=2026-01-02&fill=zero"
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.json()["rows"] == plain.json()["rows"]
    assert int(packed.headers["content-length"]) < len(plain.content) / 4


def test_metrics(client: TestClient) -> None:
    client.get("/v1/streams")
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")


def test_problem_details_have_the_shape_they_promise(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    schema = {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    validator: Any = Draft202012Validator(schema)
    validator.validate(client.get(f"{ROLLUPS}?window=7m").json())


def test_schemathesis(client: TestClient, tmp_path: Path) -> None:
    """Whatever is sent, no answer is a 500 or of another shape than the document says.

    Not all that a schema lets through can be answered: a range may be too long, or a dimension unknown.
    """
    everything = key("read:*", "write:*", "operations", "admin")
    tried: Counter[str] = Counter()
    every_check: Any = list(HealthCheck)
    with served(CONTRACTS, tmp_path, requests_per_second="10000", burst="10000") as api:
        openapi: Any = schemathesis.openapi
        schema = openapi.from_url(f"{api.url}/v1/openapi.json").exclude(path_regex="/live$")
        schema.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
        for found in schema.get_all_operations():
            operation: Any = found.ok()

            @given(operation.as_strategy())
            @settings(max_examples=30, deadline=None, suppress_health_check=every_check, database=None)
            def check(case: Any) -> None:
                tried[case.operation.label] += 1
                case.call_and_validate(headers=everything, excluded_checks=[positive_data_acceptance])

            check()
    assert len(tried) >= 18 and sum(tried.values()) > 300
