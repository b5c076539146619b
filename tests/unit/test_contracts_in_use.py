"""By which contracts a process works: those that were applied, whatever stands in the files meanwhile."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from streamgauge.contract.fingerprint import fingerprint
from streamgauge.contract.folder import load_valid_contracts, read_folder
from streamgauge.contract.in_use import contracts_to_use
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import CONTRACTS
from streamgauge.state.applied import Applied

STREAMS = ("metric_events", "system_events", "user_events")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for stream in STREAMS:
        (tmp_path / f"{stream}.yaml").write_text((CONTRACTS / f"{stream}.yaml").read_text())
    return tmp_path


def edit(folder: Path, stream: str, before: str, after: str) -> None:
    file = folder / f"{stream}.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def used(
    folder: Path, applied: Mapping[str, Applied] | None, running: Mapping[str, Contract] | None = None
) -> list[str]:
    return sorted(in_use(folder, applied, running))


def in_use(
    folder: Path, applied: Mapping[str, Applied] | None, running: Mapping[str, Contract] | None = None
) -> dict[str, Contract]:
    files = {s: f"{s}.yaml" for s in STREAMS}
    return contracts_to_use(read_folder(folder), applied, running or {}, files)


def applied(folder: Path, *streams: str) -> dict[str, Applied]:
    return as_applied(c for c in read_folder(folder).contracts if c.stream in (streams or STREAMS))


def as_applied(contracts: Iterable[Contract]) -> dict[str, Applied]:
    return {c.stream: Applied(fingerprint(c), c) for c in contracts}


def test_only_what_was_applied_is_worked_by(folder: Path) -> None:
    assert used(folder, {}) == []
    assert used(folder, applied(folder, "user_events")) == ["user_events"]
    assert used(folder, applied(folder)) == list(STREAMS)


def test_postgres_away_leaves_things_as_they_are_and_at_the_start_all_are_waited_for(folder: Path) -> None:
    known = in_use(folder, applied(folder, "user_events"))
    assert used(folder, None, known) == ["user_events"]
    assert used(folder, None) == list(STREAMS)


def test_a_changed_contract_is_taken_when_it_was_applied(folder: Path) -> None:
    before = in_use(folder, applied(folder))
    edit(folder, "user_events", "allowedLatenessSeconds: ", "allowedLatenessSeconds: 1")
    assert in_use(folder, as_applied(before.values()), before) == before
    loaded = in_use(folder, applied(folder), before)
    assert loaded["user_events"] != before["user_events"]
    assert loaded["user_events"].lateness_ms > before["user_events"].lateness_ms


def test_a_process_that_begins_goes_by_what_was_applied(folder: Path) -> None:
    before = in_use(folder, applied(folder))
    edit(folder, "user_events", "allowedLatenessSeconds: ", "allowedLatenessSeconds: 1")
    assert in_use(folder, as_applied(before.values())) == before
    # as an earlier version of the platform applied it: all that is known is the file
    known = {s: replace(a, contract=None) for s, a in as_applied(before.values()).items()}
    assert in_use(folder, known) == {c.stream: c for c in read_folder(folder).contracts}


def test_a_comment_is_no_change(folder: Path) -> None:
    before = applied(folder)
    file = folder / "user_events.yaml"
    file.write_text(f"# a comment\n{file.read_text()}")
    assert applied(folder) == before


def test_a_file_with_a_mistake_is_set_aside_and_its_stream_goes_on_where_it_ran(folder: Path) -> None:
    before = in_use(folder, applied(folder))
    done = applied(folder)
    (folder / "user_events.yaml").write_text("schema: [")
    found = read_folder(folder)
    assert [f.file for f in found.faults] == ["user_events.yaml"]
    assert found.faults[0].message
    assert used(folder, done) == ["metric_events", "system_events"]
    assert in_use(folder, done, before) == before
    assert [c.stream for c in load_valid_contracts(folder)] == ["metric_events", "system_events"]


def test_a_file_that_is_gone_ends_its_stream(folder: Path) -> None:
    before, done = in_use(folder, applied(folder)), applied(folder)
    (folder / "user_events.yaml").unlink()
    assert used(folder, done, before) == ["metric_events", "system_events"]


def test_of_two_files_of_one_stream_the_second_is_set_aside(folder: Path) -> None:
    (folder / "z.yaml").write_text((folder / "user_events.yaml").read_text())
    found = read_folder(folder)
    assert [f.file for f in found.faults] == ["z.yaml"]
    assert len(found.contracts) == len(STREAMS)


def test_a_folder_without_any_usable_contract_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no contract in"):
        load_valid_contracts(tmp_path)
    (tmp_path / "broken.yaml").write_text("schema: [")
    with pytest.raises(UserError, match="without a mistake") as caught:
        load_valid_contracts(tmp_path)
    assert "broken.yaml" in caught.value.hint


def test_a_folder_that_did_not_change_is_not_read_again_and_any_change_is_seen(folder: Path) -> None:
    """Every process looks every few seconds, and reading all contracts takes a core for a moment."""
    first = read_folder(folder)
    assert read_folder(folder) is first
    file = folder / "user_events.yaml"
    text = file.read_text()
    file.write_text(text.replace("kind: DataContract", "kind: DataContracT"))
    assert read_folder(folder) is not first
    file.unlink()
    assert len(read_folder(folder).contracts) == len(STREAMS) - 1
    file.write_text(text)
    assert read_folder(folder) == first
