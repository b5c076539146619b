"""Every mistake that a contract can have is refused when it is loaded, where it stands and in the contract's words."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from serving.rollups.measures import measures_of
from streamgauge.contract.check import Placed, derived, reserved
from streamgauge.contract.folder import read_folder
from streamgauge.contract.load import load_contract, load_contracts
from streamgauge.contract.measures import Named
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup import windows as shown
from streamgauge.settings import CHECKOUT
from streamgauge.stores.ddl import Table
from streamgauge.stores.rollup_tables import daily_schema, hourly_schema
from streamgauge.stores.tables import batch, speed
from streamgauge.stores.tables.windows import view_columns

CONTRACTS = CHECKOUT / "platform" / "contracts"
TEXT = (CONTRACTS / "user_events.yaml").read_text()

DIMENSION = "{ name: event_type, source: event_type }\n        - { name: actor_kind"
USER_ID = "description: The acting user.\n        logicalTypeOptions: { minLength: 1, maxLength: 128 }"
TYPE = 'maxLength: 64, pattern: "^[A-Z][A-Za-z0-9]*$" }'
TIME = '{ minimum: "2000-01-01T00:00:00Z" }'
VERSION = "logicalTypeOptions: { minimum: 1 }"
DEFAULT = "{ property: default, value: 1 }"
DEFAULT_OF_REQUIRED = """        required: true
        classification: public
        description: The producer's version"""
DEFAULT_OF_OPTIONAL = DEFAULT_OF_REQUIRED.replace("true", "false")
MAP = "description: Facts about the record, such as the source it came from."
FRESHNESS = "{ property: freshness, value: 60, unit: s"
MEASURE = "{ name: commits, source: properties.size, quantiles: true }"
DISTINCT = "        - { name: users, source: user_id }\n"
TOP = "{ name: users, source: user_id, exactKeys: 3000 }"
STAR = "{ name: user, source: user_id }"
ROLLUP = "  - property: rollup\n    value:\n"


def derived_field(expression: str, used: str = "") -> tuple[str, str]:
    """An edit that adds the derived field `made`, in the list `used` of the rollup if one is given."""
    old = TEXT[TEXT.index(ROLLUP) : TEXT.index("  - property: star")]
    new = f'  - property: derived\n    value:\n      made: "{expression}"\n{old}'
    return old, new.replace(f"{used}:\n", f"{used}:\n        - {{ name: made, source: made }}\n", 1) if used else new


def anomalies_block(value: str) -> str:
    return f"  - property: anomalies\n    value: {{ {value} }}\n{ROLLUP}"


def alert_block(value: str) -> str:
    return f"  - property: alerts\n    value: [{{ name: a, windowMinutes: 5, {value} }}]\n{ROLLUP}"


def named(name: str) -> tuple[str, str]:
    return DIMENSION, DIMENSION.replace("name: event_type", f"name: {name}", 1)


def valid_values(values: str) -> str:
    library = "{ type: library, metric: invalidValues, mustBe: 0, arguments: { validValues: %s } }"
    return f"\n        quality: [{library % values}]"


EDITS = {
    **{f"dimension {name}": (*named(name), "is a column that every rollup has") for name in sorted(
        {"status", "count", "late", "minute", "partition", "upto", "window_start", "window_end", "duplicates",
         "unchecked", "revision", "final_share", "complete", "size", "event_hour", "event_day", "top", "sketch"}
    )},
    "dimension as a measure's sum": (*named("commits_sum"), "commits_sum, which stands twice"),
    "dimension as a measure's number": (*named("commits_n"), "commits_n, which stands twice"),
    "dimension as a sketch": (*named("users_hll"), "users_hll, which stands twice"),
    "dimension as quantiles": (*named("commits_kll"), "commits_kll, which stands twice"),
    "dimension as a mean": (*named("commits_mean"), "commits_mean, which stands twice"),
    "dimension as a top-N": (*named("top_users"), "top_users, which stands twice"),
    "measure count": (MEASURE, MEASURE.replace("commits", "count"), "give the measure another name"),
    "distinct status": (DISTINCT, DISTINCT.replace("users", "status"), "give the distinct count another name"),
    "two measures": (MEASURE, f"{MEASURE}\n        - {MEASURE}", "stands twice: measures has commits too"),
    "top twice": (TOP, f"{TOP}\n        - {TOP}", "top has users too"),
    "measure by its suffix": (
        MEASURE, f"{MEASURE}\n        - {{ name: commits_n, source: properties.size }}", "commits_n"
    ),
    "star of a fact's column": (STAR, "{ name: offset, source: user_id }", "a column that lake and facts have"),
    "field of a fact's column": ("- name: metadata", "- name: ingest_time", "a column that lake and facts have"),
    **{f"field {name}": ("- name: metadata", f"- name: {name}", "a column that lake and facts have")
       for name in ("ingest_hour", "event_hour", "error", "record", "rule", "offset")},
    **{f"reference column {name}": ("[kind, organisation]", f"[kind, organisation, {name}]", owner) for name, owner in {
        "valid_from": "the dimensions that have its attributes", "valid_to": "the dimensions that have its attributes",
        "is_current": "the dimensions that have its attributes", "ingest_hour": "lake and facts have",
        "key": "where it is read", "__row": "not begin with __"}.items()},
    "star valid_to": (STAR, "{ name: valid_to, source: user_id }", "a column of dimensions with attributes"),
    "default of an optional field": (DEFAULT_OF_REQUIRED, DEFAULT_OF_OPTIONAL, "or leave the default out"),
    "reference's own column": ("[kind, organisation]", "[kind, organisation, updated_at]", "every reference has"),
    "long name": (*named("a" * 64), "at most 40 characters"),
    "capital name": (*named("Type"), "must be a name of lower-case letters"),
    "long stream": ("  - name: user_events", f"  - name: {'a' * 50}", "too long for Postgres"),
    "regex": (TYPE, 'pattern: "[" }', "no regular expression"),
    "regex of Python alone": (TYPE, 'maxLength: 64, pattern: "^(?=A)A" }', "no regular expression"),
    "length of a time": (TIME, '{ minimum: "2000-01-01T00:00:00Z", maxLength: 3 }', "is for a string"),
    "length of a number": (VERSION, "logicalTypeOptions: { minLength: 1 }", "is for a string"),
    "length of a map": (MAP, f"{MAP}\n        logicalTypeOptions: {{ maxLength: 3 }}", "is for a string"),
    "negative length": (USER_ID, USER_ID.replace("minLength: 1", "minLength: -1"), "whole number from 0 to"),
    "length as text": (USER_ID, USER_ID.replace("minLength: 1", "minLength: one"), '"one" must be a whole number'),
    "minimum above maximum": (VERSION, "logicalTypeOptions: { minimum: 2, maximum: 1 }", "above maximum"),
    "lengths crossed": (USER_ID, USER_ID.replace("minLength: 1,", "minLength: 129,"), "above maxLength"),
    "bound of a string": (USER_ID, USER_ID.replace("minLength", "minimum"), "is for a number or a time"),
    "bound as text": (VERSION, "logicalTypeOptions: { minimum: one }", '"one" must be a number'),
    "bound that is no number": (VERSION, "logicalTypeOptions: { minimum: .nan }", "must be a number"),
    "bound beyond an int": (VERSION, "logicalTypeOptions: { maximum: 3000000000 }", "outside what a int can be"),
    "bound that is no time": (TIME, "{ minimum: soon }", "must be a time of ISO 8601"),
    "bound of a time as a number": (TIME, "{ minimum: 5 }", "must be a time of ISO 8601"),
    "default of another type": (DEFAULT, "{ property: default, value: one }", 'the default "one" is no int'),
    "default that breaks a rule": (DEFAULT, "{ property: default, value: 0 }", "a rule: schema_version: below 1"),
    "default too large": (DEFAULT, "{ property: default, value: 3000000000 }", "is no int"),
    "valid values of another type": (VERSION, VERSION + valid_values("[one]"), 'has "one", which is no int'),
    "valid values that break a rule": (USER_ID, USER_ID + valid_values('["", a]'), 'has "", which breaks a rule'),
    "no list of values": (USER_ID, USER_ID + valid_values("a"), "validValues must be a list"),
    "event time without a minimum": (TIME, "{}", "minimum: is missing"),
    "event time before time": (TIME, '{ minimum: "0001-01-01T00:00:00+10:00" }', "outside the years 1 to 9999"),
    "dimension without a length": (TYPE, 'pattern: "^[A-Z]" }', '"event_type" has no maxLength'),
    "event id without a length": ("{ minLength: 1, maxLength: 64 }\n", "{ minLength: 1 }\n", "the event id must not"),
    "top source without a length": (USER_ID, USER_ID.replace(", maxLength: 128", ""), "what distinct is made of"),
    "key too long": (TYPE, 'maxLength: 500, pattern: "^[A-Z]" }', "a key has room for 2600"),
    "freshness of nothing": (FRESHNESS, FRESHNESS.replace("60", "0"), "must be more than 0"),
    "negative freshness": (FRESHNESS, FRESHNESS.replace("60", "-1"), "must be more than 0"),
    "no number": (FRESHNESS, FRESHNESS.replace("60", ".nan"), "must be more than 0"),
    "endless": (FRESHNESS, FRESHNESS.replace("60", ".inf"), "must be more than 0"),
    "unit": (FRESHNESS, FRESHNESS.replace("unit: s", "unit: min"), '"min" must be one of s, m, h, d'),
    "sensitivity": (ROLLUP, anomalies_block("sensitivity: extreme"), "customProperties.anomalies.sensitivity: "),
    "direction": (ROLLUP, anomalies_block("direction: sideways"), "customProperties.anomalies.direction: "),
    "off as text": (ROLLUP, anomalies_block('off: "yes"'), "customProperties.anomalies.off: "),
    "key of anomalies": (ROLLUP, anomalies_block("sensitvity: low"), "customProperties.anomalies.sensitvity: "),
    "alert without a bound": (ROLLUP, alert_block("number: count"), "customProperties.alerts[0]: has no bound"),
    "alert of no number": (
        ROLLUP, alert_block("number: commits_men, below: 1"),
        '"commits_men" is none of count, users_distinct',
    ),
    "alert of no dimension": (
        ROLLUP, alert_block("number: count, below: 1, dimensions: { event_typ: PushEvent }"),
        '"event_typ" is no dimension; did you mean event_type?',
    ),
    "alert of no window": (ROLLUP, alert_block("number: count, below: 1, windowMinutes: 0").replace(
        "windowMinutes: 5, ", ""), "windowMinutes: 0 must be at least 1"),
    "critical before the warning": (
        ROLLUP, alert_block("number: count, above: 5, criticalAbove: 4"), "must be above 5, where the warning begins"
    ),
    "critical after the warning": (
        ROLLUP, alert_block("number: count, below: 5, criticalBelow: 6"), "must be below 5, where the warning begins"
    ),
    "alert that always stands": (ROLLUP, alert_block("number: count, below: 5, above: 4"), "is always out of bounds"),
    "two alerts of a name": (
        ROLLUP, alert_block("number: count, below: 5 }, { name: a, windowMinutes: 5, number: count, below: 5"),
        '"a" stands twice; give the alert another name',
    ),
    "comparison with a month": (
        ROLLUP, alert_block("number: count, below: 1, comparedWith: month"), "must be one of day or week"
    ),
    "classification": ("classification: personal", "classification: secret", '"secret" is not known; known are public'),
    "personal measure": (
        "classification: internal\n        description: Facts about the action",
        "classification: personal\n        description: Facts about the action",
        '"properties.size" is personal, and what measures are made of',
    ),
    "derived field of nothing": (*derived_field("event_typ || 'x'"), "derived.made: \"event_typ\" is no field"),
    "derived field of two types": (*derived_field("event_type + 1"), "+ is for numbers"),
    "derived field that is no expression": (*derived_field("select 1"), "can't be read as an expression"),
    "derived field as a field": (
        ROLLUP, f"  - property: derived\n    value: {{ event_type: '1' }}\n{ROLLUP}", '"event_type" is a field already'
    ),
    "derived field as the reference": (
        ROLLUP, f"  - property: derived\n    value: {{ reference: '1' }}\n{ROLLUP}", '"reference" is what the reference'
    ),
    "derived field in capitals": (
        ROLLUP, f"  - property: derived\n    value: {{ Made: '1' }}\n{ROLLUP}", "must be a name of lower-case letters"
    ),
    "derived field as a number": (
        ROLLUP, f"  - property: derived\n    value: {{ made: 1 }}\n{ROLLUP}", "1 must be an expression"
    ),
    "derived fields as a list": (
        ROLLUP, f"  - property: derived\n    value: [made]\n{ROLLUP}", "must hold names, each with its expression"
    ),
    "derived field of a derived field that is wrong": (
        ROLLUP,
        f"  - property: derived\n    value: {{ a: 'event_type +', b: 'a || a' }}\n{ROLLUP}",
        "derived.a: can't be read",
    ),
    "derived field of itself": (
        ROLLUP,
        f"  - property: derived\n    value: {{ a: 'b || a' , b: 'lower(a)', c: 'a || b' }}\n{ROLLUP}",
        "is computed of itself: a of",
    ),
    "personal measure by a derived field": (
        *derived_field("length(user_id)", "measures"), '"made" is personal, and what measures are made of'
    ),
    "measure of a text": (*derived_field("lower(event_type)", "measures"), '"made" is not a number'),
    "dimension of a number that is too long": (
        *derived_field(" || ".join(["event_type"] * 11), "dimensions"), "a key has room for 2600"
    ),
    "count by no condition": (
        "      measures:\n", "      counts: [{ name: some, where: schema_version }]\n      measures:\n",
        "counts[0].where: must be true or false, and is a whole number",
    ),
    "count by what is not there": (
        "      measures:\n", "      counts: [{ name: some, where: even_type = 'x' }]\n      measures:\n",
        "did you mean event_type?",
    ),
    "count of everything": (
        "      measures:\n", "      counts: [{ name: some }]\n      measures:\n", "counts[0].where: is missing"
    ),
    "count of a person's events": (
        "      measures:\n", "      counts: [{ name: some, where: user_id = 'x' }]\n      measures:\n",
        "counts[0].where: hangs on a personal field",
    ),
    "count by a name that is taken": (
        "      measures:\n", "      counts: [{ name: commits_n, where: 'true' }]\n      measures:\n",
        "commits_n, which stands twice",
    ),
    "measure by a personal condition": (
        MEASURE, MEASURE.replace("quantiles", "where: length(user_id) > 3, quantiles"),
        "measures[0].where: hangs on a personal field",
    ),
    "measure by no condition": (MEASURE, MEASURE.replace("quantiles", "where: 1 +, quantiles"), "can't be read"),
    "ratio of what is not there": (
        "      top:\n", "      ratios: [{ name: rate, of: commit_sum, to: count }]\n      top:\n",
        '"commit_sum" is none of count, commits_n, commits_sum, commits_min, commits_max; did you mean commits_sum?',
    ),
    "ratio of an estimate": (
        "      top:\n", "      ratios: [{ name: rate, of: count, to: users_distinct }]\n      top:\n",
        'ratios[0].to: "users_distinct" is none of count',
    ),
    "ratio by a name that is taken": (
        "      top:\n", "      ratios: [{ name: commits_mean, of: commits_sum, to: count }]\n      top:\n",
        '"commits_mean" stands twice',
    ),
    "ratio without its second": (
        "      top:\n", "      ratios: [{ name: rate, of: count }]\n      top:\n", "ratios[0].to: is missing"
    ),
    "key twice": ("      partitions: 6\n", "      partitions: 6\n      partitions: 7\n", "stands twice"),
    "key twice in a line": (TIME, '{ minimum: "2000-01-01", minimum: "2001-01-01" }', "stands twice"),
    "no whole number": ("partitions: 6", "partitions: many", '"many" must be a whole number'),
    "true for a number": ("partitions: 6", "partitions: true", "true must be a whole number"),
    "endless horizon": ("duplicateHorizonSeconds: 3600", f"duplicateHorizonSeconds: {10**30}", "must be at most"),
    "retention misspelt": ("property: lakeRetention", "property: lakeRetenton", '"lakeRetenton" is not known'),
    "retention without a name": ("property: lakeRetention", "property: [a]", "must be text"),
    "unit of a kind": (FRESHNESS, FRESHNESS.replace("unit: s", "unit: {}"), "must be"),
    "too few": ("partitions: 6", "partitions: 0", "0 must be at least 1"),
    "level": ("compatibility: BACKWARD_TRANSITIVE", "compatibility: NONE", '"NONE" must be one of BACKWARD'),
    "missing setting": ("      partitionKey: event_id\n", "", "topic.partitionKey: is missing"),
    "top of too few": ("exactKeys: 3000 }", "exactKeys: 3 }", "3 must be at least 10"),
    "endless check": ("p99Seconds: 7200", "p99Seconds: .inf", "finite number"),
    "counts topic": ("countsTopic: app-user-event-counts", "countsTopic: a b", "can't name a topic"),
    "topic of its own": ("countsTopic: app-user-event-counts", "countsTopic: app-user-events", "another of its topics"),
    "required as text": ("required: true\n        primaryKey", "required: maybe\n        primaryKey", "true or false"),
    "a date that is none": ('minimum: "2000-01-01T00:00:00Z"', "minimum: 2000-13-45", "can't be read"),
}  # fmt: skip


def refusal(text: str, folder: Path) -> str:
    file = folder / "user_events.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load_contract(file)
    assert caught.value.hint == f"correct {file}"
    return caught.value.what


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_mistake_is_refused_where_it_stands(edit: tuple[str, str, str], tmp_path: Path) -> None:
    old, new, output = edit
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    what = refusal(text, tmp_path)
    assert output in what
    for line in what.splitlines():
        place = re.match(r"user_events\.yaml:(\d+) [a-zA-Z0-9_.\[\]]+: ", line)
        assert place, line
        assert 1 <= int(place[1]) <= text.count("\n") + 1
    assert not re.search("https?://|pydantic|Input should|Traceback|validation error", what)


def test_the_line_and_the_path_of_a_mistake(tmp_path: Path) -> None:
    line = TEXT[: TEXT.index("name: actor_kind")].count("\n") + 1
    assert refusal(TEXT.replace("name: actor_kind", "name: status"), tmp_path) == (
        f'user_events.yaml:{line} customProperties.rollup.dimensions[1].name: "status" is a column that every rollup'
        " has; give the dimension another name"
    )


def test_derived_fields_may_stand_in_any_order(tmp_path: Path) -> None:
    file = tmp_path / "user_events.yaml"
    expressions = "{ a: 'b * 2', c: 'a + b', b: schema_version }"
    file.write_text(TEXT.replace(ROLLUP, f"  - property: derived\n    value: {expressions}\n{ROLLUP}"))
    contract = load_contract(file)
    assert [d.name for d in contract.derived] == ["b", "a", "c"]
    assert {d.sources for d in contract.derived} == {("schema_version",)}


def test_a_text_of_any_length_is_no_dimension(tmp_path: Path) -> None:
    """Nor what is computed of it, but for a part that is cut off; distinct counts and top-Ns take a person's."""
    old, new = derived_field("lower(event_type)", "dimensions")
    endless = TEXT.replace(old, new).replace(TYPE, 'pattern: "^[A-Z]" }').replace("source: event_type", "source: made")
    assert '"made" may be of any length' in refusal(endless, tmp_path)
    cut = tmp_path / "user_events.yaml"
    cut.write_text(endless.replace("lower(event_type)", "substr(event_type, 1, 50)"))
    assert load_contract(cut).derived_field["made"].max_length == 50
    for part in ("distinct", "dimensions"):
        old, new = derived_field("lower(user_id)", part)
        cut.write_text(TEXT.replace(old, new))
        found = load_contract(cut)
        assert "made" in [s.source for s in found.rollup.sources if found.is_personal(s)]


def test_a_personal_dimension_needs_no_more_room_than_a_pseudonym(tmp_path: Path) -> None:
    long = DIMENSION.replace("source: event_type", "source: user_id", 1)
    path = tmp_path / "user_events.yaml"
    path.write_text(TEXT.replace(DIMENSION, long).replace("maxLength: 128", "maxLength: 640"))
    assert load_contract(path).is_personal(load_contract(path).rollup.dimensions[0])
    assert "a key has room for" in refusal(path.read_text().replace("classification: personal", ""), tmp_path)


def test_all_mistakes_are_reported_at_once_and_no_one_twice(tmp_path: Path) -> None:
    edits = ("dimension status", "unit", "classification", "regex of Python alone", "too few", "required as text")
    text = TEXT
    for old, new, _ in map(EDITS.__getitem__, edits):
        text = text.replace(old, new, 1)
    reported = refusal(text, tmp_path).splitlines()
    assert len(reported) == len(edits)
    for _, _, output in map(EDITS.__getitem__, edits):
        assert sum(output in line for line in reported) == 1


def test_mistakes_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    for file in CONTRACTS.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace("unit: s", "unit: x"))
    with pytest.raises(UserError) as caught:
        load_contracts(tmp_path)
    assert [line.partition(":")[0] for line in caught.value.what.splitlines()] == [
        "metric_events.yaml",
        "system_events.yaml",
        "user_events.yaml",
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", "a", "a: [", "a: &a [*a]", "? [a]\n: b", "schema: [1]", "\x00", "apiVersion: v3"]
)
def test_what_is_no_contract_at_all(text: str, tmp_path: Path) -> None:
    assert "user_events.yaml:1 " in refusal(text, tmp_path)


OWN = CHECKOUT / "platform" / "streamgauge" / "project" / "files" / "contracts"
ALL = (*load_contracts(CONTRACTS), *load_contracts(OWN))


@pytest.mark.parametrize("contract", ALL, ids=lambda c: c.stream)
def test_every_column_of_a_rollup_is_reserved_or_derived(contract: Contract) -> None:
    """So that a new one can't be met by a name of a contract."""
    rollup = contract.rollup
    lists: dict[str, Sequence[Named]] = {"dimensions": rollup.dimensions, "distinct": rollup.distinct}
    lists |= {"counts": rollup.counts, "measures": rollup.measures, "ratios": rollup.ratios}
    known = reserved(contract) | {
        name for what, sources in lists.items() for s in sources for name in derived(contract, Placed(what, (), s))
    }
    tables: list[Table] = [*speed.stream_tables(contract), *batch.stream_tables(contract)[:-1]]
    assert {c.name for t in tables for c in t.columns} <= known
    assert set(measures_of(contract)) <= known
    assert {*shown.WINDOW, *hourly_schema(contract), *daily_schema(contract), *view_columns(contract)} <= known
    empty = pl.DataFrame(schema={"minute": pl.Datetime("us", "UTC"), **{c.name: c.polars for c in rollup.columns}})
    kept = empty.with_columns(pl.lit("").alias(d) for d in contract.dimension_names)
    kept = kept.with_columns(pl.lit(0).alias(c) for c in speed.COUNTERS)
    assert set(shown.merge_minutes(kept, contract, shown.Window.parse("1m")).columns) <= known


def test_a_new_column_of_the_tables_is_reserved_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "COUNTERS", (*speed.COUNTERS, "skipped"))
    assert "every rollup has" in refusal(TEXT.replace("name: actor_kind", "name: skipped"), tmp_path)


CONTRADICTIONS = {
    "stream": ("- name: other", "- name: user_events", "schema[0].name: the stream user_events stands in one.yaml too"),
    "topic": (
        "physicalName: app-other",
        "physicalName: app-user-events",
        "topic app-user-events stands in one.yaml too",
    ),
    "dimension": ("name: actors", "name: others", "star[0]: the dimension user has another reference in one.yaml"),
}


@pytest.mark.parametrize("edit", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_files_that_contradict_each_other_are_reported_with_the_line(
    edit: tuple[str, str, str], tmp_path: Path
) -> None:
    old, new, output = edit
    own = TEXT.replace(
        "  - name: user_events\n    physicalName: app-user-events", "  - name: other\n    physicalName: app-other"
    )
    assert own.count(old) == 1
    (tmp_path / "one.yaml").write_text(TEXT)
    (tmp_path / "two.yaml").write_text(own.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_contracts(tmp_path)
    place = STAR if "star" in output else new
    line = own.replace(old, new)[: own.replace(old, new).index(place)].count("\n") + 1
    assert caught.value.what.startswith(f"two.yaml:{line} ")
    assert output in caught.value.what
    assert caught.value.hint == f"correct {tmp_path / 'two.yaml'}"
    assert [(f.file, caught.value.what in f.message) for f in read_folder(tmp_path).faults] == [("two.yaml", True)]
