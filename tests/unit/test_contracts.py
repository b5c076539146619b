"""A contract that can't be kept is refused when it is loaded, with the place in it that is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamgauge.contract.load import find_contract, load_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.avro import avro_schema
from streamgauge.settings import CHECKOUT

CONTRACTS = CHECKOUT / "platform" / "contracts"


@pytest.fixture
def document() -> dict[str, Any]:
    return yaml.safe_load((CONTRACTS / "user_events.yaml").read_text())


def load(document: dict[str, Any], folder: Path) -> Contract:
    file = folder / "broken.yaml"
    file.write_text(yaml.safe_dump(document))
    return load_contract(file)


def prop(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(p for p in document["schema"][0]["properties"] if p["name"] == name)


def block(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(p for p in document["customProperties"] if p["property"] == name)["value"]


def refused(document: dict[str, Any], folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(document, folder)
    assert "broken.yaml" in caught.value.what
    return caught.value.what


def test_the_three_streams_and_what_follows_from_one() -> None:
    contracts = load_contracts(CONTRACTS)
    assert [c.stream for c in contracts] == ["metric_events", "system_events", "user_events"]
    user = find_contract(contracts, "user_events")
    assert (user.topic, user.dead_letter_topic) == ("app-user-events", "app-user-events-dead-letters")
    assert user.topic_spec.countsTopic == "app-user-event-counts"
    assert user.subject == "app-user-events-value"
    assert (user.event_id, user.event_time) == ("event_id", "timestamp")
    assert user.retention_ms == 7 * 86_400_000
    assert user.field["event_type"].pattern == "^[A-Z][A-Za-z0-9]*$"
    assert user.field["timestamp"].minimum == 946_684_800_000


def test_avro_has_every_field_in_order_with_its_default() -> None:
    system = find_contract(load_contracts(CONTRACTS), "system_events")
    fields = {f["name"]: f for f in avro_schema(system)["fields"]}
    assert list(fields) == [f.name for f in system.fields]
    assert fields["http_status"]["type"] == ["null", "int"]
    assert fields["http_status"]["default"] is None
    assert fields["schema_version"]["default"] == 1
    assert "default" not in fields["service"]


def test_an_unknown_stream_names_those_there_are() -> None:
    with pytest.raises(UserError, match="no stream 'nothing'") as caught:
        find_contract(load_contracts(CONTRACTS), "nothing")
    assert "user_events" in caught.value.hint


def test_no_contract_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no contract in"):
        load_contracts(tmp_path)


def test_two_files_of_one_stream(document: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"b\.yaml:\d+ .*stream user_events stands in a\.yaml too"):
        load_contracts(tmp_path)


def test_not_yaml(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("a: [")
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_contract(file)


def test_another_standard(document: dict[str, Any], tmp_path: Path) -> None:
    document["apiVersion"] = "v2.2.2"
    assert "must be v3" in refused(document, tmp_path)


def test_an_unknown_type(document: dict[str, Any], tmp_path: Path) -> None:
    prop(document, "user_id")["physicalType"] = "uuid"
    what = refused(document, tmp_path)
    assert "user_id" in what
    assert "uuid" in what


def test_no_event_id(document: dict[str, Any], tmp_path: Path) -> None:
    prop(document, "event_id")["primaryKey"] = False
    assert "primaryKey" in refused(document, tmp_path)


def test_no_event_time(document: dict[str, Any], tmp_path: Path) -> None:
    prop(document, "timestamp").update(physicalType="long", logicalTypeOptions={})
    assert "timestamp-millis" in refused(document, tmp_path)


def test_an_optional_event_id(document: dict[str, Any], tmp_path: Path) -> None:
    prop(document, "event_id")["required"] = False
    assert "must be required" in refused(document, tmp_path)


def test_no_owner(document: dict[str, Any], tmp_path: Path) -> None:
    del document["team"]
    assert "team.name" in refused(document, tmp_path)


def test_a_rule_that_nothing_checks(document: dict[str, Any], tmp_path: Path) -> None:
    prop(document, "user_id")["logicalTypeOptions"]["format"] = "email"
    assert "format" in refused(document, tmp_path)


def test_an_unknown_block(document: dict[str, Any], tmp_path: Path) -> None:
    document["customProperties"].append({"property": "rolup", "value": {}})
    assert "rolup" in refused(document, tmp_path)


def test_a_misspelt_setting(document: dict[str, Any], tmp_path: Path) -> None:
    block(document, "time")["alowedLatenessSeconds"] = 1
    assert "alowedLatenessSeconds" in refused(document, tmp_path)


@pytest.mark.parametrize("source", ["nothing", "properties", "user_id.size", "reference.nothing"])
def test_a_rollup_of_what_is_not_there(document: dict[str, Any], tmp_path: Path, source: str) -> None:
    block(document, "rollup")["dimensions"][0]["source"] = source
    assert source in refused(document, tmp_path)


def test_a_measure_of_text(document: dict[str, Any], tmp_path: Path) -> None:
    block(document, "rollup")["measures"][0]["source"] = "user_id"
    assert "not a number" in refused(document, tmp_path)


def test_a_key_that_is_no_field(document: dict[str, Any], tmp_path: Path) -> None:
    block(document, "topic")["partitionKey"] = "nothing"
    assert "topic.partitionKey" in refused(document, tmp_path)


def test_a_star_without_a_block_has_the_dimensions_of_the_rollup(document: dict[str, Any], tmp_path: Path) -> None:
    named = load(document, tmp_path)
    assert [d.name for d in named.star] == ["user", "event_type", "organisation"]
    assert [named.attributes(d) for d in named.star] == [("kind", "organisation"), (), ()]
    document["customProperties"] = [p for p in document["customProperties"] if p["property"] != "star"]
    assert [d.name for d in load(document, tmp_path).star] == ["event_type", "actor_kind"]


@pytest.mark.parametrize(
    ("star", "reason"),
    [
        ([{"name": "date", "source": "event_type"}], "a dimension that every star has"),
        ([{"name": "record", "source": "event_type"}, {"name": "record", "source": "user_id"}], "stands twice"),
        (
            [{"name": "region", "source": "reference.region"}],
            "is no property, derived field, map key",
        ),
    ],
)
def test_a_star_that_can_t_be(document: dict[str, Any], tmp_path: Path, star: list[Any], reason: str) -> None:
    block_of_star = next(p for p in document["customProperties"] if p["property"] == "star")
    block_of_star["value"] = star
    assert reason in refused(document, tmp_path)


def test_a_reference_column_named_as_a_field(document: dict[str, Any], tmp_path: Path) -> None:
    block(document, "reference")["columns"] = ["kind", "organisation", "metadata"]
    assert "is a field too" in refused(document, tmp_path)


def test_a_dimension_of_two_streams_has_one_reference(document: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(document))
    document["schema"][0].update(name="other_events", physicalName="app-other-events")
    block(document, "reference")["name"] = "others"
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match="dimension user"):
        load_contracts(tmp_path)
