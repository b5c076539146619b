"""How late an answer is at a steady rate, measured from outside.

An event is due at the start of the load plus its number divided by the rate. It is readable when a connection of its
own, asking Postgres every 20 ms, first sees `stream_offsets` past the event's place in the log, which the ledger knows
from the acknowledgement: the worker writes minutes and offsets in one transaction, so who sees the one sees the other.
At the end the sum of the minutes is compared with the ledger, so that this is not taken on trust. What slips in the
generator, waits in the producer's queue or lies between two looks counts as delay. The first seconds, in which the
generator starts behind its plan, are left out.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.figures import delays
from bench.worker import committed
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect

_LOOK_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0
WARM_UP_SECONDS = 5.0


@dataclass(frozen=True)
class Latency:
    """In seconds. `all_counted`: the minutes grew by exactly what was acknowledged."""

    rate: float
    acknowledged: tuple[float, float, float]
    readable: tuple[float, float, float]
    events: int
    all_counted: bool


def measure(contract: Contract, folder: Path, rate: float, seconds: float) -> Latency:
    """A worker must be running, and have read all there was."""
    ledger = folder / "sent.parquet"
    commits: list[tuple[float, dict[int, int]]] = []
    with connect(Settings.for_role("reader"), autocommit=True) as connection:
        before = _counted(connection, contract)
        command = [sys.executable, "-m", "bench.sender", str(rate), str(seconds), str(ledger)]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        try:
            ended: float | None = None
            ends: dict[int, int] = {}
            while ended is None or not _passed(commits[-1][1], ends):
                commits.append(_look(connection, contract))
                if ended is None and sender.poll() is not None:
                    ended = time.monotonic()
                    if sender.returncode:
                        raise UserError("the sender of the latency measurement failed", "its reason stands above")
                    ends = _ends(pl.read_parquet(ledger))
                if ended is not None and time.monotonic() - ended > _PATIENCE_SECONDS:
                    break
                time.sleep(_LOOK_SECONDS)
            after = _counted(connection, contract)
        finally:
            if sender.poll() is None:
                sender.terminate()
            output = sender.communicate()[0]
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    sent = pl.read_parquet(ledger)
    steady = sent.filter(pl.col("sequence") >= rate * WARM_UP_SECONDS)
    # what never became readable counts as later than all else
    late = delays(steady, commits).fill_nan(float("inf")).to_numpy()
    p50, p95, p99 = (float(v) for v in np.quantile(late, (0.5, 0.95, 0.99), method="inverted_cdf"))
    return Latency(
        rate=result["rate"],
        acknowledged=(result["latency_p50"], result["latency_p95"], result["latency_p99"]),
        readable=(p50, p95, p99),
        events=sent.height,
        all_counted=after - before == sent.height,
    )


def _look(connection: Connection, contract: Contract) -> tuple[float, dict[int, int]]:
    """The time after the answer: it was readable then at the latest."""
    seen = committed(connection, contract)
    return time.time(), seen


def _counted(connection: Connection, contract: Contract) -> int:
    query = f'SELECT coalesce(sum(count), 0)::bigint FROM "{contract.stream}_1m"'
    row = connection.execute(query.encode()).fetchone()
    return 0 if row is None else int(row[0])


def _ends(sent: pl.DataFrame) -> dict[int, int]:
    return dict(sent.group_by("partition").agg(pl.col("offset").max() + 1).iter_rows())


def _passed(seen: dict[int, int], ends: dict[int, int]) -> bool:
    return all(seen.get(p, 0) >= end for p, end in ends.items())
