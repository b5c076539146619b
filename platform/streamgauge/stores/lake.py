"""The cold store: Delta tables in a folder or an object store, replaced partition by partition.

A partition is replaced in one commit, so a reader sees the old rows or the new ones, and a writer that dies leaves
files that no commit names. Object stores are written with conditional puts: of two writers of one table each commits
or is told that it lost, and none overwrites the other's commit unseen.

Delta knows fewer types than polars: what is stored is wider where it must be, and what is read has the table's own
types again, also from files that an older contract wrote.
"""

import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

INGEST_HOUR, EVENT_HOUR = "ingest_hour", "event_hour"
PARTITION, OFFSET, INGEST_TIME, ERROR, RECORD = "partition", "offset", "ingest_time", "error", "record"
MILLISECONDS = pl.Datetime("ms", "UTC")

_arrow: Any = pyarrow
"""It comes without types."""

_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_ATTEMPTS = 6
_WRITER = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=256 * 1024)
_FILE_BYTES = 128 * 1024 * 1024
_STATISTICS = "delta.dataSkippingStatsColumns"
"""Delta's name for the columns whose least and greatest values of each file stand in its log."""

Rows = pl.DataFrame | Iterable[pl.DataFrame]
Between = tuple[str, Any, Any]


class LakeError(UserError):
    """A table can't be read or written; what it held before is still there."""


class LakeConflict(LakeError):
    """Another writer changed the same partition meanwhile: read again, then write again."""


@dataclass(frozen=True)
class Stored:
    """What a partition holds: rows, files and their bytes, in one version of the table."""

    version: int
    rows: int
    files: int
    bytes: int


@dataclass(frozen=True)
class LakeTable:
    """One table. `schema` is what readers get; `key` is the column it is partitioned by, if any."""

    url: str
    schema: pl.Schema
    key: str | None = None
    description: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def exists(self) -> bool:
        return self.open() is not None

    def open(self) -> DeltaTable | None:
        with explained(self.url):
            try:
                return DeltaTable(self.url, storage_options=dict(self.options))
            except TableNotFoundError:
                return None

    def opened(self) -> DeltaTable:
        """Created where there is none; one of an older version keeps fewer statistics from here on."""
        with explained(self.url):
            table = self.open() or _created(self)
            if table.metadata().configuration.get(_STATISTICS) != self.statistics:
                table.alter.set_table_properties({_STATISTICS: self.statistics})
            return table

    @property
    def statistics(self) -> str:
        """Of the platform's own columns alone: the least and greatest of a field's values are somebody's values, and
        Delta's log is kept and copied without the rows.
        """
        own = (PARTITION, OFFSET, INGEST_TIME, EVENT_HOUR)
        return ",".join(c for c in own if c in self.schema and c != self.key)

    def replace(
        self,
        keys: Sequence[str] | None,
        rows: Rows,
        *,
        transactions: Mapping[str, int] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Puts `rows` in the place of the partitions `keys` (None: of all), in one commit. No rows empty them.

        `transactions` and `metadata` become part of the commit. A lost race is run again by itself, but frames that
        come one after another are gone by then: their caller gets LakeConflict.
        """
        predicate = None if keys is None else _one_of(self._key, keys)
        return self._write("overwrite", rows, predicate, keys, transactions, metadata)

    def append(self, rows: Rows, *, metadata: Mapping[str, Any] | None = None) -> Stored:
        return self._write("append", rows, None, None, None, metadata)

    def scan(self, keys: Sequence[str] | None = None, between: Between | None = None) -> pl.LazyFrame:
        """Of the partitions `keys`, or of all; only the columns that are then used are read.

        `between`: a column and its first and last value. Files and row groups outside of these are not read.
        """
        table = self.open()
        files = [] if table is None else self._files(table, keys)
        if table is not None and between is not None and files:
            outside = _outside(table, between)
            files = [f for f in files if not f.endswith(outside)] if outside else files
        return self._scan(files, between)

    def scan_paths(self, paths: Iterable[str]) -> pl.LazyFrame:
        """Of files that `paths` named, whether or not the table still has them."""
        return self._scan([f"{self.url}/{path}" for path in paths], None)

    def paths(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """By partition the paths of its files, below the table's own."""
        table = self.open()
        if table is None:
            return {}
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        if files.is_empty():
            return {}
        named = files.filter(pl.col(f"partition.{self._key}").is_in(list(keys))).sort("path")
        found: dict[str, list[str]] = {}
        for key, path in named.select(f"partition.{self._key}", "path").rows():
            found.setdefault(key, []).append(path)
        return found

    def _scan(self, files: Sequence[str], between: Between | None) -> pl.LazyFrame:
        if not files:
            return pl.LazyFrame(schema=self.schema)
        stored = stored_schema(self.schema)
        frame = pl.scan_parquet(
            list(files),
            schema=stored,
            hive_partitioning=self.key is not None,
            hive_schema={self.key: stored[self.key]} if self.key else None,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast"),
            storage_options=dict(self.options) or None,
        )
        if between is not None:
            column, first, last = between
            low, high = (pl.lit(v, dtype=stored[column]) for v in (first, last))
            frame = frame.filter(pl.col(column) >= low, pl.col(column) <= high)
        return frame.select(pl.col(name).cast(kind) for name, kind in self.schema.items())

    def read(self, keys: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        frame = self.scan(keys)
        with explained(self.url):
            return (frame if columns is None else frame.select(columns)).collect()

    def stored(self, keys: Sequence[str] | None = None) -> dict[str, Stored]:
        """By partition; those without rows are missing. A table without partitions is under the empty key."""
        table = self.open()
        return {} if table is None else self._stored(table, keys)

    @property
    def _key(self) -> str:
        if self.key is None:
            raise ValueError(f"{self.url} has no partitions")
        return self.key

    def _columns_of(self, table: DeltaTable) -> set[str]:
        """Delta would cut values to fit a column of another type, and say nothing."""
        held = pl.Schema(cast(Any, table.schema().to_arrow()))
        wrong = [n for n, t in stored_schema(self.schema).items() if n in held and held[n] != t]
        if wrong:
            raise LakeError(
                f"the lake table {self.url} has another type for {', '.join(wrong)}",
                "give the field another name in the contract, or move the table's folder away and build it again",
            )
        return set(held)

    def _files(self, table: DeltaTable, keys: Sequence[str] | None) -> list[str]:
        with explained(self.url):
            if keys is None:
                return table.file_uris()
            return table.file_uris(file_pruning_predicate=[(self._key, "in", list(keys))]) if keys else []

    def _stored(self, table: DeltaTable, keys: Sequence[str] | None) -> dict[str, Stored]:
        files = pl.DataFrame(table.get_add_actions(flatten=True))
        key = pl.lit("") if self.key is None else pl.col(f"partition.{self.key}")
        if files.is_empty():
            return {}
        sums = files.group_by(key.alias("key")).agg(pl.sum("num_records"), pl.len(), pl.sum("size_bytes"))
        wanted = None if keys is None else set(keys)
        return {
            k: Stored(table.version(), rows, n, size) for k, rows, n, size in sums.rows() if not wanted or k in wanted
        }

    def _write(
        self,
        mode: Any,
        rows: Rows,
        predicate: str | None,
        keys: Sequence[str] | None,
        transactions: Mapping[str, int] | None,
        metadata: Mapping[str, Any] | None,
    ) -> Stored:
        properties = CommitProperties(
            custom_metadata=dict(metadata) if metadata else None,
            app_transactions=[Transaction(app, version) for app, version in (transactions or {}).items()] or None,
        )

        def once() -> DeltaTable:
            given = _Given(self.schema, [rows] if isinstance(rows, pl.DataFrame) else rows)
            with given.own_error(), explained(self.url):
                table = self.opened()
                columns = self._columns_of(table)
                write_deltalake(
                    table,
                    given.reader(),
                    mode=mode,
                    predicate=predicate,
                    # only when it must: a change of the schema conflicts with whoever writes meanwhile
                    schema_mode=None if columns == set(self.schema) else "merge",
                    target_file_size=_FILE_BYTES,
                    writer_properties=_WRITER,
                    commit_properties=properties,
                )
                return table

        again = Retrying(
            retry=retry_if_exception_type(LakeConflict),
            stop=stop_after_attempt(_ATTEMPTS if isinstance(rows, pl.DataFrame) else 1),
            wait=wait_random_exponential(multiplier=0.1, max=3),
            reraise=True,
        )
        table = again(once)
        found = self._stored(table, keys).values()
        return Stored(table.version(), *(sum(getattr(s, n) for s in found) for n in ("rows", "files", "bytes")))


def lake_table(root: str, contract: Contract) -> LakeTable:
    """Every record of the stream, by hour of ingest time."""
    about = f"{contract.stream}: every record of {contract.topic}, by hour of ingest time"
    return table_at(root, f"lake/{contract.stream}", lake_schema(contract), INGEST_HOUR, about)


def lake_schema(contract: Contract) -> pl.Schema:
    return pl.Schema(
        {
            **contract_columns(contract),
            PARTITION: pl.Int32,
            OFFSET: pl.Int64,
            INGEST_TIME: MILLISECONDS,
            INGEST_HOUR: pl.String,
            EVENT_HOUR: MILLISECONDS,
            ERROR: pl.String,
            RECORD: pl.Binary,
        }
    )


def contract_columns(contract: Contract) -> dict[str, Any]:
    return {f.name: POLARS_TYPES[f.type] for f in contract.fields}


def table_at(root: str, path: str, schema: pl.Schema, key: str | None = None, description: str = "") -> LakeTable:
    """`path` below the lake's root, such as `facts/user_events`."""
    return LakeTable(f"{root.rstrip('/')}/{path}", schema, key, description, storage_options(root))


def storage_options(root: str) -> dict[str, str]:
    """What an object store needs beside its URL: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and so on in the environment."""
    if "://" not in root:
        return {}
    options = {name.lower(): value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {**options, "aws_conditional_put": "etag"} if root.startswith(("s3://", "s3a://")) else options


def stored_schema(schema: pl.Schema) -> pl.Schema:
    return pl.Schema({name: _stored_type(kind) for name, kind in schema.items()})


def _stored_type(kind: Any) -> Any:
    """Delta has microseconds and no unsigned numbers; an int may become a long, which its tables can't."""
    if isinstance(kind, pl.Datetime):
        return pl.Datetime("us", kind.time_zone)
    return pl.Int64 if kind.is_integer() else kind


class _Given:
    """The caller's frames as Arrow. What goes wrong in making them comes out of Delta as a text: `own_error` raises it
    as it was.
    """

    def __init__(self, schema: pl.Schema, frames: Iterable[pl.DataFrame]) -> None:
        self._stored = stored_schema(schema)
        self._frames = frames
        self._error: Exception | None = None

    def reader(self) -> Any:
        return _arrow.RecordBatchReader.from_batches(_table(self._stored.to_frame()).schema, self._batches())

    def _batches(self) -> Generator[Any]:
        try:
            for frame in self._frames:
                yield from _table(frame.select(pl.col(n).cast(t) for n, t in self._stored.items())).to_batches()
        except Exception as e:
            self._error = e
            raise

    @contextmanager
    def own_error(self) -> Generator[None]:
        try:
            yield
        except LakeError:
            if self._error is not None:
                raise self._error from None
            raise


def _table(frame: pl.DataFrame) -> Any:
    return cast(Any, frame).to_arrow()


def _outside(table: DeltaTable, between: Between) -> tuple[str, ...]:
    """The paths of the files that hold no such value, by the statistics in Delta's log."""
    column, first, last = between
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    low, high = f"min.{column}", f"max.{column}"
    if low not in files.columns:
        return ()
    return tuple(files.filter((pl.col(high) < first) | (pl.col(low) > last))["path"].to_list())


def _one_of(column: str, keys: Sequence[str]) -> str:
    wrong = [k for k in keys if not _KEY.fullmatch(k)]
    if wrong or not keys:
        raise ValueError(f"not a partition: {wrong}")
    return f"{column} IN ({', '.join(repr(k) for k in keys)})"


def _created(table: LakeTable) -> DeltaTable:
    try:
        return DeltaTable.create(
            table.url,
            _table(stored_schema(table.schema).to_frame()).schema,
            partition_by=table.key,
            description=table.description,
            configuration={_STATISTICS: table.statistics},
            storage_options=dict(table.options),
        )
    except DeltaError:
        # somebody else was first
        return DeltaTable(table.url, storage_options=dict(table.options))


@contextmanager
def explained(url: str) -> Generator[None]:
    """Turns what the stores raise into an error that says what can be done, and shows no row."""
    try:
        yield
    except CommitFailedError as e:
        raise LakeConflict(f"another writer changed {url} at the same time: {e}", "run it again") from e
    except (DeltaError, OSError, pl.exceptions.ComputeError) as e:
        text = str(e).partition("\nPreview of")[0]
        full = any(sign in text for sign in ("No space left", "quota exceeded", "File too large"))
        raise LakeError(f"the lake table {url}: {text}", _FULL if full else _UNREACHED) from None


_FULL = "its disk is full: make room, then run it again; what the table held is still there"
_UNREACHED = "see that the lake's folder or object store can be reached and written, then run it again"
