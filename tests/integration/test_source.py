"""A topic that somebody else makes and writes, from its records to numbers that both layers agree on."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from confluent_kafka.admin import ConfigResource, ResourceType  # pyright: ignore[reportPrivateImportUsage]

from streamgauge.apply.changes import AllowKafka
from streamgauge.apply.execute import apply, plan
from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract
from streamgauge.contract.promises import source_promises
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.producer.producer import find_schema_id
from streamgauge.settings import Settings
from streamgauge.state import api_keys as keys
from streamgauge.stores.fact_tables import facts_table, quarantine_table
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.lake import lake_table
from streamgauge.stores.postgres import connect
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.own_stream import Document, block, prop
from tests.integration.running import streamgauge
from tests.integration.serving_client import in_process
from tests.integration.shop import ODD, PARTITIONS, STATES, Minutes, Shop, make_topic, order
from tests.integration.test_reconciliation import final, reconcile
from tests.integration.workers import Workers, account_of, wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]

ORDERS = 4_000


def edit(folder: Path, stream: str) -> Contract:
    """What a guess can't know."""
    file = folder / f"{stream}.yaml"
    document: Document = yaml.safe_load(file.read_text())
    allowed = {"metric": "invalidValues", "arguments": {"validValues": list(STATES)}}
    prop(document, "order_state")["quality"] = [allowed]
    sku = {"name": "sku", "physicalName": "lines[0].sku", "physicalType": "string"}
    document["schema"][0]["properties"].append({**sku, "logicalTypeOptions": {"maxLength": 20}})
    block(document, "rollup")["top"] = [{"name": "skus", "source": "sku", "exactKeys": 100}]
    # never idle, so that what comes of the log doesn't hang on the clock
    block(document, "time")["idleAfterSeconds"] = 3600
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_contract(file)


def test_a_shop_s_orders_are_counted_alike_by_both_layers(tmp_path: Path) -> None:
    stream = f"t{uuid.uuid4().hex[:10]}"
    topic = f"shop.{stream}"
    settings = Settings.for_role("admin").model_copy(update={"contracts_dir": tmp_path})
    make_topic(topic)
    # two hours that are over whatever the time is now, and the one still open
    now = hour_start(datetime.now(UTC))
    hour, after = now - 2 * HOUR, now - HOUR
    shop = Shop(topic)
    shop.send_orders(range(ORDERS // 2), hour, hour + HOUR / 2)

    message = streamgauge(tmp_path, "adopt", topic, "--stream", stream)
    streamgauge(tmp_path, "contract", "check")
    text = (tmp_path / f"{stream}.yaml").read_text()
    assert not any(value in message + text for value in ("o-1", "a lot", "W-1010", "EUR"))
    contract = load_contract(tmp_path / f"{stream}.yaml")
    assert (contract.event_id, contract.event_time) == ("order_id", "placed_at")
    assert contract.source is not None and contract.source.key == "customer_id"
    assert contract.dimension_names == ("order_state", "customer_address_country", "gift")
    planned = plan(settings, (contract,))
    assert not planned.refusals
    of_the_topic = [change for change in (*planned.kafka, *planned.registry) if f"'{topic}'" in str(change)]
    rights = {change.acl.operation if isinstance(change, AllowKafka) else str(change) for change in of_the_topic}
    assert rights == {"read", "describe"} and not planned.registry
    assert any("counted twice by the speed layer and once by the batch layer" in n.text for n in planned.notes)
    before = settings_of(topic)
    apply(settings, (contract,))
    assert not plan(settings, (contract,)).changes
    contract = edit(tmp_path, stream)
    apply(settings, (contract,))
    assert settings_of(topic) == before
    with pytest.raises(UserError, match="which others write"):
        find_schema_id(Settings.for_role("producer"), contract)

    with in_process(tmp_path) as client:
        assert client.get(f"/v1/streams/{stream}").json()["promises"] == list(source_promises(contract))
        headers = {"Authorization": f"Bearer {key_of(stream)}"}
        answer = client.post(f"/v1/streams/{stream}/events", json=[{}], headers=headers)
        assert answer.status_code == 409 and "which others write" in answer.json()["detail"]

    with Workers([stream], tmp_path) as workers:
        killed = workers.start()
        wait_for(lambda: account_of(contract).counted > 0, "the worker has counted something")
        workers.kill(killed)
        shop.send_orders(range(ORDERS // 2, ORDERS), hour + HOUR / 2, after)
        # what comes after the hour lets it become final
        shop.send_orders(range(ORDERS, ORDERS + 300), after, now)
        workers.start()
        account = wait_until_read(contract, 120)
    assert len(ODD) >= 8 and set(shop.odd) == set(ODD)
    assert (account.acknowledged, account.late) == (shop.sent, 0)
    assert (account.duplicates, account.dead_letters) == (shop.repeated, shop.odd.total())
    assert dead_letters(topic) == shop.dead_letters
    assert shop.elsewhere and minutes(contract, hour) == shop.expected_of_speed(hour) != shop.expected(hour)

    fill_lake(contract, [hour, after, now])
    fill_batch(contract, [hour, after])
    assert facts(contract, hour) == shop.expected(hour)
    assert facts(contract, after) == shop.expected(after)
    assert quarantined(contract, [hour, after]) == shop.odd.total()
    assert all(e.passed for e in reconcile(contract, [hour]).values())
    assert final(contract) == {hour: (1, True)}

    # an hour that is over takes no more, whatever time a record of somebody else's says
    again = json.dumps(order(1, hour)).encode()
    shop.send(again, hour, "another key", partition=other_partition(contract, "o-1"))
    shop.flush()
    with Workers([stream], tmp_path) as workers:
        workers.start()
        assert wait_until_read(contract, 120).late == 1
    fill_lake(contract, [now, hour, after])
    held = lake_table(settings.lake, contract).read(columns=["partition", "offset", "ingest_hour"])
    assert held.height == held.select("partition", "offset").n_unique() == shop.sent
    fill_batch(contract, [hour])
    assert facts(contract, hour) == shop.expected(hour)
    assert all(e.passed for e in reconcile(contract, [hour]).values())


def key_of(stream: str) -> str:
    with connect(Settings.for_role("admin")) as connection:
        return keys.create(connection, stream, [f"write:{stream}"])[0]


def settings_of(topic: str) -> dict[str, str]:
    """All that Kafka keeps of it."""
    admin: Any = admin_client(Settings.for_role("admin"))
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([resource])[resource].result(20)
    return {name: entry.value for name, entry in found.items()}


def minutes(contract: Contract, hour: datetime) -> Minutes:
    counted = "window_start, customer_address_country, order_state, sum(count)::bigint, sum(total_amount_sum)"
    query = (
        f'select {counted} from "{contract.stream}_1m" where window_start >= %s and window_start < %s group by 1, 2, 3'
    )
    with connect(Settings.for_role("reader")) as connection:
        rows = connection.execute(query.encode(), (hour, hour + HOUR)).fetchall()
    return {(at, country, state): (count, float(amount)) for at, country, state, count, amount in rows}


def facts(contract: Contract, hour: datetime) -> Minutes:
    rows = facts_table(Settings.for_role("batch").lake, contract).read([hour_key(hour)])
    at = pl.col("placed_at").dt.truncate("1m").dt.cast_time_unit("us")
    found = rows.group_by(at, "customer_address_country", "order_state").agg(pl.len(), pl.sum("total_amount"))
    return {(at, country, state): (count, amount) for at, country, state, count, amount in found.rows()}


def quarantined(contract: Contract, hours: list[datetime]) -> int:
    return quarantine_table(Settings.for_role("batch").lake, contract).read([hour_key(h) for h in hours]).height


def dead_letters(topic: str) -> Counter[tuple[str, str]]:
    with connect(Settings.for_role("admin")) as connection:
        rows = connection.execute("select reason, detail from dead_letters where topic = %s", (topic,)).fetchall()
    return Counter((reason, "" if reason == "future" else detail) for reason, detail in rows)


def other_partition(contract: Contract, order_id: str) -> int:
    rows = lake_table(Settings.for_role("batch").lake, contract).read(columns=["partition", "order_id"])
    (mine,) = rows.filter(pl.col("order_id") == order_id)["partition"].unique().to_list()
    return (mine + 1) % PARTITIONS
