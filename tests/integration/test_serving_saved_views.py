"""Saved views: who sees which, who may change it, and how many there may be."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from serving.saved_views import PER_OWNER
from serving.schemas import SavedView, SavedViews
from streamgauge.apply.execute import apply
from streamgauge.contract.load import load_contracts
from streamgauge.settings import CONTRACTS, Settings
from streamgauge.state import api_keys as keys
from streamgauge.stores.postgres import connect
from tests.integration.serving_client import in_process

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]

PATH = "/v1/saved-views"
WANTED = {"name": "By type", "stream": "user_events", "question": "by=event_type&range=7d", "shared": False}
Headers = dict[str, str]


@pytest.fixture(scope="module")
def client(stack: Any) -> Generator[TestClient]:
    apply(Settings.for_role("admin"), load_contracts(CONTRACTS))
    with in_process(CONTRACTS) as built:
        yield built


def key(*scopes: str, name: str = "test") -> Headers:
    with connect(Settings.for_role("admin")) as connection:
        return {"Authorization": f"Bearer {keys.create(connection, name, scopes)[0]}"}


def saved(client: TestClient, headers: Headers, **changed: object) -> SavedView:
    answer = client.post(PATH, json={**WANTED, **changed}, headers=headers)
    assert answer.status_code == 201, answer.text
    return SavedView.model_validate(answer.json())


def seen(client: TestClient, headers: Headers | None = None) -> dict[str, SavedView]:
    answer = client.get(PATH, headers=headers)
    assert answer.status_code == 200, answer.text
    return {v.id: v for v in SavedViews.model_validate(answer.json()).views}


def test_a_view_is_saved_changed_and_deleted_by_its_owner(client: TestClient) -> None:
    name = f"ann {uuid4()}"
    ann = key("read:*", name=name)
    view = saved(client, ann)
    assert (view.owner, view.own, view.question) == (name, True, WANTED["question"])
    assert seen(client, ann)[view.id] == view
    changed = {**WANTED, "name": "Renamed", "stream": "system_events", "question": "", "shared": True}
    answer = client.put(f"{PATH}/{view.id}", json=changed, headers=ann).json()
    now = SavedView.model_validate(answer)
    assert now.model_dump(include={*WANTED}) == changed
    assert now.created_at == view.created_at and now.changed_at > view.changed_at
    assert client.delete(f"{PATH}/{view.id}", headers=ann).status_code == 200
    assert view.id not in seen(client, ann)
    assert client.delete(f"{PATH}/{view.id}", headers=ann).status_code == 404


def test_of_anothers_private_view_nothing_is_seen_or_changed(client: TestClient) -> None:
    ann, bob = key("read:*"), key("read:*", "admin")
    view = saved(client, ann)
    assert view.id not in seen(client, bob) and view.id not in seen(client)
    unknown = client.put(f"{PATH}/{'0' * 12}", json=WANTED, headers=bob).json()["type"]
    for answer in (
        client.put(f"{PATH}/{view.id}", json=WANTED, headers=bob),
        client.delete(f"{PATH}/{view.id}", headers=bob),
    ):
        assert (answer.status_code, answer.json()["type"]) == (404, unknown)
    assert seen(client, ann)[view.id] == view


def test_a_shared_view_is_seen_by_all_and_changed_by_its_owner(client: TestClient) -> None:
    ann, bob, admin = key("read:*", name="ann"), key("read:*"), key("read:*", "admin")
    view = saved(client, ann, shared=True)
    for other in (bob, None):
        found = seen(client, other)[view.id]
        assert (found.own, found.owner) == (False, "ann")
    answer = client.put(f"{PATH}/{view.id}", json=WANTED, headers=bob)
    assert answer.status_code == 403 and "ann" in answer.json()["detail"]
    assert client.put(f"{PATH}/{view.id}", json=WANTED, headers=admin).status_code == 403
    assert client.delete(f"{PATH}/{view.id}", headers=bob).status_code == 403
    assert seen(client, ann)[view.id] == view
    assert client.delete(f"{PATH}/{view.id}", headers=admin).status_code == 200


def test_a_view_is_seen_by_those_who_may_read_its_stream(client: TestClient) -> None:
    ann, one = key("read:*"), key("read:system_events")
    view, other = saved(client, ann, shared=True), saved(client, ann, shared=True, stream="system_events")
    assert view.id not in seen(client, one) and other.id in seen(client, one)
    assert client.delete(f"{PATH}/{view.id}", headers=one).status_code == 404
    assert client.post(PATH, json=WANTED, headers=one).status_code == 403
    own = saved(client, one, stream="system_events")
    assert client.put(f"{PATH}/{own.id}", json=WANTED, headers=one).status_code == 403
    assert client.post(PATH, json={**WANTED, "stream": "nix"}, headers=ann).status_code == 404


def test_who_has_no_key_saves_nothing_and_learns_how_to_get_one(client: TestClient) -> None:
    view = saved(client, key("read:*"), shared=True)
    for answer in (
        client.post(PATH, json=WANTED),
        client.put(f"{PATH}/{view.id}", json=WANTED),
        client.delete(f"{PATH}/{view.id}"),
    ):
        assert answer.status_code == 403
        assert "streamgauge api-keys create NAME --as viewer" in answer.json()["hint"]


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "two\nlines"),
        ("name", "\0"),
        ("stream", ""),
        ("question", "x" * 4001),
        ("question", "a b"),
        ("question", "where=type:\u00e9"),
        ("shared", None),
        ("owner", "somebody"),
    ],
)
def test_what_is_saved_has_bounds(client: TestClient, parameter: str, value: object) -> None:
    ann = key("read:*")
    answer = client.post(PATH, json={**WANTED, parameter: value}, headers=ann)
    assert answer.status_code == 422, answer.text
    assert [e["parameter"] for e in answer.json()["errors"]] == [parameter]
    assert not [v for v in seen(client, ann).values() if v.own]


def test_a_key_has_so_many_views_and_no_more_even_at_once(client: TestClient) -> None:
    ann = key("read:*")
    key_id = ann["Authorization"].split("_")[1]
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(
            "INSERT INTO saved_views (id, owner, name, stream, question, shared)"
            " SELECT md5(%s || n)::text, %s, 'n', 'user_events', '', false FROM generate_series(3, %s) n",
            (key_id, key_id, PER_OWNER),
        )
    with ThreadPoolExecutor(4) as pool:
        posts = [pool.submit(client.post, PATH, json=WANTED, headers=ann) for _ in range(4)]
        answers = [p.result() for p in posts]
    assert sorted(a.status_code for a in answers) == [201, 201, 409, 409]
    full = next(a for a in answers if a.status_code == 409).json()
    assert str(PER_OWNER) in full["detail"] and full["hint"] == "Delete some."
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("DELETE FROM saved_views WHERE owner = %s", (key_id,))
    saved(client, ann)
