"""What the catalogue says of fields and numbers: of the example contract, which uses most of what there is."""

from dataclasses import replace

import orjson

from serving.catalogue import described
from serving.schemas import Catalogue
from streamgauge.contract.catalogue import NumberEntry, described_fields, described_numbers
from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import SourceSpec
from streamgauge.settings import CHECKOUT

(ORDERS,) = load_contracts(CHECKOUT / "platform/streamgauge/project/files/contracts")
FIELDS = {f.name: f for f in described_fields(ORDERS)}


def test_a_field_is_followed_to_all_that_is_made_of_it() -> None:
    assert FIELDS["event_id"].used_as == ("event id", "partition key")
    assert FIELDS["happened_at"].used_as == ("event time", "dimension weekend")
    assert FIELDS["state"].used_as == ("dimension state", "count returned")
    assert FIELDS["amount"].used_as == ("measure amount",)


def test_values_are_described_as_what_they_may_be() -> None:
    assert FIELDS["amount"].allowed == ("at least 0", "a finite number")
    assert not FIELDS["amount"].required


def test_numbers_say_what_they_are_of() -> None:
    assert described_numbers(ORDERS) == [
        NumberEntry("state", "dimension", "state", False),
        NumberEntry("country", "dimension", "country", False),
        NumberEntry("weekend", "dimension", "weekend", False),
        NumberEntry("returned", "count", "events where state = 'returned'", False),
        NumberEntry("amount", "measure", "amount", False),
        NumberEntry("return_rate", "ratio", "returned / count", False),
        NumberEntry("customers", "distinct", "how many different customer", True),
    ]


def test_what_others_keep_has_no_time_here() -> None:
    foreign = replace(ORDERS, source=SourceSpec(topic="orders", format="json", key="state"), own_topic=None)
    found = Catalogue.model_validate_json(orjson.dumps(described(foreign, None)))
    assert (found.kept_days.events, found.readers) == (None, None)
    assert Catalogue.model_validate_json(orjson.dumps(described(ORDERS, []))).kept_days.events == 7
