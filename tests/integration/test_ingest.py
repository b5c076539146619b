"""Events over HTTP, from the request to the number that the API answers with."""

import json
import socket
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from jsonschema import Draft202012Validator

from serving.ingest.body import MAX_BYTES
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.state import api_keys as keys
from streamgauge.stores.kafka import producer_config
from streamgauge.stores.postgres import connect
from tests.integration.log import read_log
from tests.integration.own_stream import OwnStream
from tests.integration.running import Running, now_ms
from tests.integration.serving_client import LOOPBACK, Served, in_process, served
from tests.integration.workers import Workers, account_of, wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def own(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    folder = tmp_path_factory.mktemp("ingest")
    stream = OwnStream(folder)
    with Workers([stream.name], folder) as workers:
        running = Running(stream, workers)
        running.apply()
        running.workers.start()
        yield running


@pytest.fixture(scope="module")
def api(own: Running, tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    limits = {"requests_per_second": "10000", "burst": "10000"}
    with served(own.own.folder, tmp_path_factory.mktemp("api"), **limits) as built:
        yield built


def key(*scopes: str) -> dict[str, str]:
    with connect(Settings.for_role("admin")) as connection:
        return {"Authorization": f"Bearer {keys.create(connection, 'test', scopes)[0]}"}


def event(event_id: str, **other: Any) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "user_id": "ann",
        "event_type": "PushEvent",
        "timestamp": now_ms(),
        "properties": {"size": "3"},
        "metadata": {},
        **other,
    }


def path_of(own: Running) -> str:
    return f"/v1/streams/{own.contract.stream}/events"


def counted(own: Running, api: Served) -> int:
    answer = api.client.get(f"/v1/streams/{own.contract.stream}/rollups?window=1h")
    assert answer.status_code == 200, answer.text
    return sum(row["count"] for row in answer.json()["rows"])


def test_what_is_sent_is_counted_once(own: Running, api: Served) -> None:
    write = key(f"write:{own.contract.stream}")
    before, were_counted = wait_until_read(own.contract), counted(own, api)
    events = [event(f"once-{i}") for i in range(50)]
    headers = {**write, "X-Correlation-Id": "order-7", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    for _ in range(2):
        answer = api.client.post(path_of(own), json=events, headers=headers)
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert (body["accepted"], body["refused"], body["correlation_id"]) == (50, 0, "order-7")
        assert body["records"] == [{"index": i, "verdict": "accepted"} for i in range(50)]
        # acknowledged means that it is in the log already
        assert account_of(own.contract).acknowledged - before.acknowledged in (50, 100)
    after = wait_until_read(own.contract)
    assert after.counted - before.counted == 50 and after.duplicates - before.duplicates == 50
    assert not after.dead_letters
    wait_for(lambda: counted(own, api) == were_counted + 50, "the API answers with them")
    sent = [m for m in read_log(Settings.for_role("worker"), own.contract) if (m.key() or b"").startswith(b"once-")]
    assert len(sent) == 100
    for message in sent:
        found: dict[str, Any] = dict(cast(Any, message.headers() or []))
        assert found["correlation_id"] == b"order-7"
        assert found["traceparent"].startswith(b"00-" + b"ab" * 16)
        assert found["producer"].decode() == f"http:{write['Authorization'].split('_')[1]}"


def test_every_kind_of_body_is_taken(own: Running, api: Served) -> None:
    write = key("write:*")
    before = wait_until_read(own.contract)
    data = {k: v for k, v in event("").items() if k not in ("event_id", "timestamp")}
    cloud: dict[str, Any] = {"specversion": "1.0", "source": "/shop", "type": "push", "data": data}
    cloud["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lines = "\n".join(json.dumps(event(f"line-{i}")) for i in range(3))
    binary = {f"ce-{k}": v for k, v in {**cloud, "id": "ce-3"}.items() if isinstance(v, str)}
    for content, media, more in (
        (json.dumps(event("one")), "application/json", {}),
        (lines, "application/x-ndjson", {}),
        (json.dumps({**cloud, "id": "ce-1"}), "application/cloudevents+json", {}),
        (json.dumps([{**cloud, "id": "ce-2"}]), "application/cloudevents-batch+json", {}),
        (json.dumps(data), "application/json", binary),
    ):
        answer = api.client.post(path_of(own), content=content, headers={**write, "Content-Type": media, **more})
        assert answer.status_code == 202, answer.text
        assert answer.json()["refused"] == 0, answer.text
    after = wait_until_read(own.contract)
    assert after.counted - before.counted == 7 and after.dead_letters == before.dead_letters


def test_who_may_write(own: Running, api: Served) -> None:
    stream = own.contract.stream
    for headers in (key("read:*"), key(f"read:{stream}", "write:user_events"), {}):
        answer = api.client.post(path_of(own), json=event("no"), headers=headers)
        assert answer.status_code == 403 and f"write:{stream}" in answer.json()["detail"], answer.text
    assert api.client.post(path_of(own), json=event("no"), headers={"Authorization": "Bearer x"}).status_code == 401
    write_only = key(f"write:{stream}")
    assert api.client.get(f"/v1/streams/{stream}", headers=write_only).status_code == 403
    assert api.client.post("/v1/streams/nix/events", json=event("no"), headers=write_only).status_code == 404


def test_the_apis_login_writes_to_the_topics_of_streams_and_to_no_other(own: Running) -> None:
    contract = own.contract
    client = Producer({**producer_config(Settings.for_role("api")), "delivery.timeout.ms": 10_000})
    answers: dict[str, int] = {}
    others = (contract.dead_letter_topic, contract.topic_spec.countsTopic or "")
    for topic in (contract.topic, *others):

        def note(error: KafkaError | None, _: Any, topic: str = topic) -> None:
            answers[topic] = 0 if error is None else error.code()

        try:
            client.produce(topic, b"", on_delivery=note)
        except KafkaException as e:
            answers[topic] = e.args[0].code()
    client.flush(15)
    assert answers == {contract.topic: 0, **dict.fromkeys(others, KafkaError.TOPIC_AUTHORIZATION_FAILED)}
    wait_until_read(contract)


def test_each_event_has_its_verdict(own: Running, api: Served) -> None:
    write = key("write:*")
    mixed = [event("good-1"), event("bad", user_id=""), event("good-2"), event("worse", timestamp="soon"), 7]
    answer = api.client.post(path_of(own), json=mixed, headers=write)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["accepted"], body["refused"]) == (2, 3)
    assert [(r["verdict"], r.get("field")) for r in body["records"]] == [
        ("accepted", None),
        ("refused", "user_id"),
        ("accepted", None),
        ("refused", "timestamp"),
        ("refused", None),
    ]
    document = api.client.get("/v1/openapi.json").json()
    schema = {"$ref": "#/components/schemas/Accepted", "components": document["components"]}
    validator: Any = Draft202012Validator(schema)
    validator.validate(body)
    answer = api.client.post(path_of(own), json=[event("x", user_id="")], headers=write)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"parameter": "[0].user_id", "detail": "shorter than 1"}]


def test_requests_at_once_have_their_own_verdicts(own: Running, api: Served) -> None:
    write = key("write:*")
    before = wait_until_read(own.contract)

    def post(n: int) -> list[str]:
        events = [event(f"at-once-{n}-{i}", user_id="" if i == n % 10 else "ann") for i in range(10)]
        answer = api.client.post(path_of(own), json=events, headers=write)
        assert answer.status_code == 202, answer.text
        return [r["verdict"] for r in answer.json()["records"]]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(60)))
    for n, verdicts in enumerate(answers):
        assert verdicts == ["refused" if i == n % 10 else "accepted" for i in range(10)]
    after = wait_until_read(own.contract)
    assert after.counted - before.counted == 60 * 9 and after.dead_letters == before.dead_letters


def test_a_body_has_bounds(own: Running, api: Served) -> None:
    write = {**key("write:*"), "Content-Type": "application/json"}
    assert api.client.post(path_of(own), content=b"[" + b" " * MAX_BYTES, headers=write).status_code == 413
    assert api.client.post(path_of(own), content=b"{", headers=write).status_code == 400
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = api.client.post(path_of(own), content=b"{}", headers={**write, "Content-Type": media})
        assert answer.status_code == 415, answer.text


def test_a_body_that_stops_in_the_middle_is_not_waited_for(own: Running, api: Served) -> None:
    write = key("write:*")
    head = f"POST {path_of(own)} HTTP/1.1\r\nHost: {LOOPBACK}\r\nAuthorization: {write['Authorization']}\r\n"
    with socket.create_connection((LOOPBACK, int(api.url.rpartition(":")[2])), timeout=20) as half:
        half.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n[".encode())
        assert api.client.post(path_of(own), json=event("meanwhile"), headers=write).status_code == 202
        assert half.recv(100).startswith(b"HTTP/1.1 408")


def test_when_too_much_waits_the_next_one_waits(own: Running, monkeypatch: pytest.MonkeyPatch, stack: Any) -> None:
    with in_process(own.own.folder) as client:
        write = key("write:*")
        assert client.post(path_of(own), json=event("room"), headers=write).status_code == 202
        monkeypatch.setattr("serving.ingest.publisher.MAX_OUTSTANDING", 1)
        answer = client.post(path_of(own), json=[event("full-1"), event("full-2")], headers=write)
        assert answer.status_code == 429 and answer.json()["type"] == "/v1/problems/ingest-full"
        assert int(answer.headers["retry-after"]) >= 1
        assert client.post(path_of(own), json=event("room-2"), headers=write).status_code == 202


def test_a_producer_that_ends_for_good_is_replaced(own: Running, stack: Any) -> None:
    with in_process(own.own.folder) as client:
        write = key("write:*")
        assert client.post(path_of(own), json=event("before"), headers=write).status_code == 202
        app: Any = client.app
        publisher = app.state.services.ingest._publisher
        first = publisher._producer
        publisher._on_error(KafkaError(KafkaError._FATAL, "for a test", fatal=True))  # pyright: ignore
        wait_for(lambda: publisher._producer is not first, "another producer", 10)
        assert client.post(path_of(own), json=event("after"), headers=write).status_code == 202


def test_without_a_broker_nothing_is_accepted_and_by_retry_everything_once(
    own: Running, api: Served, stack: Stack
) -> None:
    write = key("write:*")
    before = wait_until_read(own.contract)
    stack.stop_program("kafka")
    batches = [[event(f"outage-{b}-{i}") for i in range(20)] for b in range(5)]

    def post(batch: list[dict[str, Any]]) -> httpx.Response:
        return api.client.post(path_of(own), json=batch, headers=write)

    try:
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(post, batches))
        for answer in answers:
            assert answer.status_code == 503 and answer.json()["type"] == "/v1/problems/server-away", answer.text
            assert int(answer.headers["retry-after"]) >= 1
        since = time.monotonic()
        assert post(batches[0]).status_code == 503
        assert time.monotonic() - since < 2, "who knows that Kafka is away doesn't wait for it"
        assert api.client.get(f"/v1/streams/{own.contract.stream}/rollups").status_code == 200
    finally:
        stack.start_program("kafka")
    deadline = time.monotonic() + 60
    waiting = batches
    while waiting:
        assert time.monotonic() < deadline, "events are not taken after Kafka came back"
        waiting = [b for b in waiting if post(b).status_code != 202]
        time.sleep(0.2)
    after = wait_until_read(own.contract)
    assert after.counted - before.counted == 100
