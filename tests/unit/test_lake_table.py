"""Tables of the lake in a folder: what a replacement changes, and what nothing may change."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from deltalake import write_deltalake

from streamgauge.errors import UserError
from streamgauge.stores.lake import EVENT_HOUR, MILLISECONDS, LakeConflict, LakeError, LakeTable, Stored, table_at

SCHEMA = pl.Schema({"key": pl.String, "n": pl.Int32, "at": MILLISECONDS, "text": pl.String})
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return table_at(str(tmp_path), "some/table", SCHEMA, "key")


def rows(key: str, *numbers: int, text: str = "t") -> pl.DataFrame:
    return pl.DataFrame({"key": key, "n": list(numbers), "at": AT, "text": text}, schema=SCHEMA)


def test_before_it_is_written_a_table_is_empty_and_typed(table: LakeTable) -> None:
    assert not table.exists
    assert table.read().equals(SCHEMA.to_frame())
    assert table.read(["a"], ["n"]).schema == {"n": pl.Int32}
    assert table.stored() == {}


def test_a_replacement_touches_its_partitions_alone(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1, 2))
    table.replace(["b", "c"], pl.concat([rows("b", 3), rows("c", 4)]))
    before = table.read(["b", "c"])
    stored = table.replace(["a"], rows("a", 5))
    assert (stored.rows, stored.files) == (1, 1)
    assert table.read(["a"])["n"].to_list() == [5]
    assert table.read(["b", "c"]).sort("n").equals(before.sort("n"))
    assert table.read().schema == SCHEMA
    assert table.read(["a"])["at"].to_list() == [AT]


def test_no_rows_empty_a_partition(table: LakeTable) -> None:
    table.replace(["a", "b"], pl.concat([rows("a", 1), rows("b", 2)]))
    assert table.replace(["a"], rows("a")).rows == 0
    assert table.read()["n"].to_list() == [2]
    assert set(table.stored()) == {"b"}


def test_frames_become_one_commit(table: LakeTable) -> None:
    version = table.opened().version()
    stored = table.replace(["a"], (rows("a", i) for i in range(50)), transactions={"topic/0/a": 50}, metadata={"x": 1})
    assert stored == Stored(version + 1, 50, 1, stored.bytes)
    delta = table.opened()
    assert delta.transaction_version("topic/0/a") == 50
    assert delta.history(1)[0]["x"] == 1


def test_rows_of_another_partition_are_refused_and_not_shown(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1))
    with pytest.raises(LakeError) as refused:
        table.replace(["a"], rows("b", 2, text="a secret"))
    assert "a secret" not in refused.value.what + refused.value.hint
    assert table.read()["n"].to_list() == [1]


def test_what_goes_wrong_in_the_frames_is_raised_as_it_was(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1))

    def frames() -> Iterator[pl.DataFrame]:
        yield rows("a", 2)
        raise UserError("Kafka is away", "wait")

    with pytest.raises(UserError, match="Kafka is away"):
        table.replace(["a"], frames())
    assert table.read()["n"].to_list() == [1]


def test_a_name_that_is_no_partition_never_becomes_sql(table: LakeTable) -> None:
    with pytest.raises(ValueError, match="not a partition"):
        table.replace(["a' or 'b' = 'b"], rows("a", 1))


def test_old_files_are_read_by_a_newer_contract_and_new_ones_by_an_older(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1))
    newer = replace(table, schema=pl.Schema({**SCHEMA, "n": pl.Int64, "added": pl.String}))
    assert newer.read().select("n", "added").rows() == [(1, None)]
    wider = rows("b", 0).with_columns(n=pl.lit(2**31 + 2, pl.Int64), added=pl.lit("x"))
    newer.replace(["b"], wider)
    assert newer.read().sort("key").select("n", "added").rows() == [(1, None), (2**31 + 2, "x")]
    table.replace(["c"], rows("c", 3))
    assert table.read(["a", "c"]).sort("key")["n"].to_list() == [1, 3]
    assert newer.read(["c"])["added"].to_list() == [None]


def test_a_column_of_another_type_is_refused(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1))
    other = replace(table, schema=pl.Schema({**SCHEMA, "n": pl.Float64}))
    with pytest.raises(LakeError, match="another type for n"):
        other.replace(["a"], rows("a", 1).cast({"n": pl.Float64}).with_columns(n=1.5))
    assert table.read()["n"].to_list() == [1]


def test_who_reads_before_another_commits_is_told_when_it_writes(table: LakeTable) -> None:
    table.replace(["a"], rows("a", 1))

    def frames() -> Iterator[pl.DataFrame]:
        yield rows("a", 2)
        # Delta's own threads can't wait for one another
        other = threading.Thread(target=table.replace, args=(["a"], rows("a", 3)))
        other.start()
        other.join()

    with pytest.raises(LakeConflict):
        table.replace(["a"], frames())
    assert table.read()["n"].to_list() == [3]


def _log_of(table: LakeTable) -> bytes:
    return b"".join(p.read_bytes() for p in Path(table.url, "_delta_log").iterdir() if p.is_file())


def test_the_log_holds_no_values_of_fields(tmp_path: Path) -> None:
    """Only the platform's own columns have statistics there: by some of them files are left out in reading."""
    schema = pl.Schema({**SCHEMA, EVENT_HOUR: MILLISECONDS})
    table = table_at(str(tmp_path), "some/table", schema, "key")
    table.replace(["a"], rows("a", 7, text="ann@example.org").with_columns(pl.lit(AT).alias(EVENT_HOUR)))
    log = _log_of(table)
    assert b"maxValues" in log and EVENT_HOUR.encode() in log
    assert b"ann@example.org" not in log and b'\\"n\\":7' not in log
    assert table.scan(between=(EVENT_HOUR, AT, AT)).collect()["n"].to_list() == [7]
    assert table.scan(between=(EVENT_HOUR, AT + timedelta(hours=1), AT + timedelta(hours=1))).collect().is_empty()


def test_a_table_of_an_older_version_gets_no_new_values_in_its_log(table: LakeTable) -> None:
    stored = cast(Any, rows("a", 1, text="ann@example.org").cast({"n": pl.Int64, "at": pl.Datetime("us", "UTC")}))
    write_deltalake(table.url, stored.to_arrow(), partition_by="key")
    assert b"ann@example.org" in _log_of(table)
    table.replace(["b"], rows("b", 2, text="bob@example.org"))
    assert b"bob@example.org" not in _log_of(table)
    assert table.read().height == 2


def test_a_table_without_partitions_is_replaced_whole(tmp_path: Path) -> None:
    table = table_at(str(tmp_path), "dims/x", SCHEMA)
    table.replace(None, rows("a", 1, 2))
    assert table.replace(None, rows("b", 3)).rows == 1
    assert table.read()["key"].to_list() == ["b"]


_LIMITED = """
import resource, sys
from tests.unit.test_lake_table import SCHEMA, rows
from streamgauge.errors import UserError
from streamgauge.stores.lake import table_at
table = table_at(sys.argv[1], "some/table", SCHEMA, "key")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    table.replace(["a"], rows("a", *range(20_000)))
except UserError as e:
    print(e.what, e.hint)
"""


@pytest.mark.parametrize("bytes_left", [0, 4096], ids=["before a row", "among the rows"])
def test_a_full_disk_leaves_what_was_there_and_says_so(table: LakeTable, tmp_path: Path, bytes_left: int) -> None:
    table.replace(["a"], rows("a", 1))
    command = [sys.executable, "-c", _LIMITED, str(tmp_path), str(bytes_left)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert table.url in done.stdout
    assert "its disk is full: make room" in done.stdout
    assert table.read()["n"].to_list() == [1]
    table.replace(["a"], rows("a", 2))
    assert table.read()["n"].to_list() == [2]
