"""Sends at a steady rate, in a process of its own: `python -m bench.sender RATE SECONDS LEDGER`.

Writes the ledger with the second at which each record was due, and prints the latencies to the acknowledgement.
"""

import json
import sys
import time
from pathlib import Path

import polars as pl

from bench.place import STREAM, USERS
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.settings import Settings
from streaming.ledger import Ledger
from streaming.load.generate import Shape
from streaming.load.load import Plan, load


def main() -> None:
    rate, seconds, file = float(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    settings = Settings.for_role("producer")
    contract = find_contract(load_contracts(settings.contracts_dir), STREAM)
    ledger = Ledger()
    start_ms = time.time_ns() // 1_000_000
    plan = Plan(round(rate * seconds), rate, start_ms, start_ms)
    result = load(settings, contract, plan, Shape(USERS), ledger=ledger)
    due = (start_ms / 1000 + pl.col("sequence") / rate).alias("due")
    ledger.frame().select("partition", "offset", "sequence", due).write_parquet(file)
    sys.stdout.write(json.dumps(result.as_json()) + "\n")


if __name__ == "__main__":
    main()
