"""What the API says of a stream itself, and of those who ask for it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from serving.config import ApiConfig
from serving.database import Database
from serving.readers import Readers, read_by
from serving.schemas import Catalogue
from streamgauge.apply.execute import apply
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.settings import CONTRACTS, Settings
from streamgauge.state import api_keys as keys
from streamgauge.stores.postgres import connect
from tests.integration.serving_client import in_process

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]

STREAM = "metric_events"


@pytest.fixture(scope="module", autouse=True)
def applied(stack: Any) -> None:
    apply(Settings.for_role("admin"), load_contracts(CONTRACTS))


def key(name: str, *scopes: str) -> dict[str, str]:
    with connect(Settings.for_role("admin")) as connection:
        return {"Authorization": f"Bearer {keys.create(connection, name, scopes)[0]}"}


def test_who_asks_for_a_stream_is_seen_by_those_who_run_it() -> None:
    name = f"dashboard {uuid4()}"
    dashboard, operator = key(name, f"read:{STREAM}"), key("operator", "read:*", "operations")
    path = f"/v1/streams/{STREAM}"
    for requests in (3, 5):
        with in_process(CONTRACTS) as client:
            before = _requests(client.get(f"{path}/catalogue", headers=operator).json(), name)
            for _ in range(requests):
                assert client.get(f"{path}/rollups", headers=dashboard).status_code == 200
            assert client.get("/v1/streams/user_events/rollups", headers=dashboard).status_code == 403
            assert client.get(f"{path}/catalogue", headers=dashboard).json()["readers"] is None
        # an API that stops has written what it counted
        with in_process(CONTRACTS) as client:
            answer = client.get(f"{path}/catalogue", headers=operator).json()
            Catalogue.model_validate(answer)
            assert _requests(answer, name) == before + requests + 1
            other = client.get("/v1/streams/user_events/catalogue", headers=operator).json()
            assert _requests(other, name) == 0


def _requests(answer: dict[str, Any], caller: str) -> int:
    return sum(r["requests"] for r in answer["readers"] if r["caller"] == caller)


def test_what_cannot_be_written_is_written_later() -> None:
    database = Database(Settings.for_role("api"), ApiConfig())
    database.open()
    readers = Readers(database)
    readers.note(STREAM, "later")
    with connect(Settings.for_role("admin"), autocommit=True) as admin:
        admin.execute("ALTER TABLE stream_readers RENAME TO stream_readers_away")
        try:
            readers.write()
        finally:
            admin.execute("ALTER TABLE stream_readers_away RENAME TO stream_readers")
        readers.note(STREAM, "later")
        readers.write()
        readers.write()
        now = datetime.now(UTC)
        assert [(r.caller, r.key_id, r.requests) for r in read_by(admin, STREAM, now) if r.caller == "later"] == [
            ("later", None, 2)
        ]
        assert [r for r in read_by(admin, STREAM, now + timedelta(days=31)) if r.caller == "later"] == []
    database.close()


def test_a_catalogue_says_what_its_contract_says() -> None:
    contract = find_contract(load_contracts(CONTRACTS), "system_events")
    with in_process(CONTRACTS) as client:
        found = Catalogue.model_validate(client.get("/v1/streams/system_events/catalogue").json())
    assert [f.name for f in found.fields] == [f.name for f in contract.fields]
    levels = next(f for f in found.fields if f.name == "level")
    assert levels.allowed == [f"one of {', '.join(contract.field['level'].allowed)}"]
    assert levels.used_as == ["dimension level"]
    with connect(Settings.for_role("reader")) as connection:
        for view in found.views:
            connection.execute(f"SELECT * FROM {view} LIMIT 1".encode())
