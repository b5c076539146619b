"""Final numbers are made again from a copy of the lake, and whatever was changed in it or in them is found."""

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.proof.verify import VerifiedNumber, verify
from streamgauge.audit.checkpoint import public_key, public_text, signing_key
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.proof.evidence import SignedEvidence, digest_of
from streamgauge.proof.number import Asked, NotProvable, ProvenNumber, numbers_of, prove
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.postgres import connect
from tests.examples import examples
from tests.integration.batch_layer import fill_batch, fill_lake, reconcile, send
from tests.integration.running import Running
from tests.integration.serving_client import in_process
from tests.integration.workers import wait_until_read

pytestmark = pytest.mark.timeout(600)

EVENTS = 3_000
SIZES = {"1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": HOUR}


class Proven:
    """Two final hours, a copy of their lake, and the key by which their evidence is signed."""

    def __init__(self, running: Running, hours: HourRange, lake: Path) -> None:
        self.running, self.hours, self.lake = running, hours, lake
        self.contract: Contract = running.contract
        self.key = public_text(signing_key(Settings.for_role("batch")))

    def asked(self, **changed: Any) -> Asked:
        first = Asked(self.contract.stream, "1h", self.hours.first, "count", {"event_type": "PushEvent"})
        return replace(first, **changed)

    def number(self, asked: Asked | None = None) -> ProvenNumber:
        with connect(Settings.for_role("reader")) as connection:
            text = json.dumps(prove(connection, self.contract, asked or self.asked()).as_json())
        return ProvenNumber.from_json(text)

    def verified(self, number: ProvenNumber) -> VerifiedNumber:
        return verify(number, str(self.lake), public_key(self.key), lambda c: Pseudonyms("", c.stream))


@pytest.fixture
def proven(running: Running, tmp_path: Path) -> Proven:
    running.apply()
    running.workers.start()
    contract, now = running.contract, hour_start(datetime.now(UTC))
    hours = HourRange(now - 4 * HOUR, now - 3 * HOUR)
    end = hours.last + HOUR
    send(contract, running, range(EVENTS), hours.first, end)
    send(contract, running, range(EVENTS, EVENTS + 60), end, end + HOUR / 4)
    send(contract, running, range(EVENTS - 50, EVENTS), end - 50 * (2 * HOUR / EVENTS), end)
    wait_until_read(contract)
    fill_lake(contract)
    fill_batch(contract, hours.hours)
    found = reconcile(contract, hours.hours)
    assert all(e.passed for e in found.values())
    copy = tmp_path / "copy"
    for table in ("facts", "duplicates"):
        shutil.copytree(Path(Settings.for_role("batch").lake) / table / contract.stream, copy / table / contract.stream)
    return Proven(running, hours, copy)


def test_final_numbers_are_made_again_from_the_lake_alone(proven: Proven) -> None:
    drawn = random.Random(7)
    kinds = ("PushEvent", "ForkEvent")
    counted: set[str] = set()
    for _ in range(examples(1000).max_examples):
        window = drawn.choice(list(SIZES))
        start = proven.hours.first + drawn.randrange(2 * HOUR // SIZES[window]) * SIZES[window]
        members = {"event_type": drawn.choice(kinds)} if drawn.random() < 0.7 else {}
        figure = drawn.choice(numbers_of(proven.contract))
        number = proven.number(Asked(proven.contract.stream, window, start, figure, members))
        found = proven.verified(number)
        assert found.holds, (number.asked, number.value, found)
        counted.add(figure)
    assert len(counted) > 5


def test_one_changed_fact_is_found(proven: Proven) -> None:
    number = proven.number()
    (file,) = (f for e in number.evidence for f in e.evidence.files if f.table == "facts")
    path = proven.lake / "facts" / proven.contract.stream / file.path
    facts = pl.read_parquet(path, hive_partitioning=False)
    another = pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("WatchEvent")).otherwise("event_type")
    facts.with_columns(another.alias("event_type")).write_parquet(path)
    found = proven.verified(number)
    assert not found.holds and found.value is None
    assert found.faults == (f"facts/{proven.contract.stream}/{file.path} is not what was signed",)
    path.unlink()
    (fault,) = proven.verified(number).faults
    assert "is not there" in fault


def test_nobody_but_the_key_can_change_number_or_evidence(proven: Proven) -> None:
    number = proven.number()
    (signed,) = number.evidence
    more = replace(number, value=int(number.value or 0) + 1)
    assert proven.verified(more).faults == (f"the lake makes {number.value}, and the number is {more.value}",)
    forged = SignedEvidence(signed.body.replace('"unexplained":0', '"unexplained":9'), signed.signature, signed.entry)
    assert forged.body != signed.body
    (fault,) = proven.verified(replace(number, evidence=[forged])).faults
    assert fault.endswith("is not signed by that key")
    other = proven.number(proven.asked(start=proven.hours.last))
    swapped = replace(number, evidence=other.evidence)
    assert "of other hours" in proven.verified(swapped).faults[0]
    without = replace(number.contract, rollup=number.contract.rollup.model_copy(update={"measures": ()}))
    assert "the contract is not the one" in proven.verified(replace(number, contract=without)).faults[0]


def test_the_commands_on_a_machine_without_servers(proven: Proven, tmp_path: Path) -> None:
    run = partial(subprocess.run, capture_output=True, text=True, timeout=60, check=False)
    command, file = [sys.executable, "-m", "streamgauge.cli"], tmp_path / "number.json"
    at = f"{proven.hours.first:%Y-%m-%dT%H:%M}"
    here = {**os.environ, f"{PREFIX}CONTRACTS_DIR": str(proven.running.own.folder)}
    done = run(
        [
            *command,
            "proof",
            proven.contract.stream,
            "commits_mean",
            "--at",
            at,
            "--of",
            "event_type=PushEvent",
            "-o",
            file,
        ],
        env=here,
    )
    assert done.returncode == 0, done.stderr
    elsewhere = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX)}
    elsewhere[f"{PREFIX}DATA_DIR"] = str(tmp_path / "nothing")
    done = run([*command, "verify", file, "--lake", proven.lake, "--key", proven.key, "--json"], env=elsewhere)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["holds"] and found["value"] == json.loads(file.read_text())["number"]["value"]
    done = run([*command, "verify", file, "--lake", proven.lake, "--key", "00" * 32], env=elsewhere)
    assert done.returncode == 1 and "is not signed by that key" in done.stdout


def test_evidence_is_recorded_and_only_final_numbers_have_it(proven: Proven) -> None:
    contract, first = proven.contract, proven.hours.first
    (signed,) = proven.number().evidence
    with connect(Settings.for_role("admin")) as connection:
        entries = connection.execute(
            "select number, body from audit_log where action = 'hour.evidence' and subject = %s",
            (f"{contract.stream}/{hour_key(first)}",),
        ).fetchall()
    ((entry, body),) = entries
    assert entry == signed.entry and json.loads(body)["after"] == {"revision": 1, "sha256": digest_of(signed.body)}
    reconcile(contract, proven.hours.hours)
    assert proven.number().evidence == [signed], "compared again, and nothing of it is another"
    with pytest.raises(NotProvable, match="is provisional"):
        proven.number(proven.asked(start=proven.hours.last + HOUR))
    with pytest.raises(UserError, match="has no number 'cuont'"):
        proven.number(proven.asked(figure="cuont"))
    with in_process(proven.running.own.folder) as client:
        path = f"/v1/streams/{contract.stream}/proof"
        begin = first.isoformat()
        answer = client.get(path, params={"start": begin, "where": "event_type:PushEvent"})
        assert answer.status_code == 200, answer.text
        assert proven.verified(ProvenNumber.from_json(answer.text)).holds
        later = (proven.hours.last + HOUR).isoformat()
        for params, status in (
            ({"start": later}, 409),
            ({"start": begin, "where": "event_type:None"}, 404),
            ({"start": begin, "figure": "cuont"}, 422),
            ({"start": begin, "where": ["event_type:PushEvent", "event_type:ForkEvent"]}, 422),
        ):
            assert client.get(path, params=params).status_code == status, params
