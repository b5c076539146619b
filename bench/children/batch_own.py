"""Facts and rollups of all hours, as the assets make them, without Postgres."""

import contextlib
import json
import resource
import sys
import time
from datetime import timedelta

import polars as pl

from assets.dims.history import History
from assets.facts.build import FactsBuilder
from assets.rollups.hourly import roll, store
from bench.batch import BEGIN, HOURS, STREAM, reference
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.rollup.enrich import KEY
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import CONTRACTS, batch_start
from streamgauge.stores.dimension_tables import VALID_FROM


def main() -> None:
    root = sys.argv[1]
    contract = find_contract(load_contracts(CONTRACTS), STREAM)
    hours = [BEGIN + timedelta(hours=i) for i in range(HOURS)]
    began = time.perf_counter()
    assert contract.reference is not None
    known = reference().rename({contract.reference.key: KEY}).with_columns(pl.lit(BEGIN).alias(VALID_FROM))
    history = History.of(contract.reference, known)
    builder = FactsBuilder(root, contract, history, batch_start(), lambda _: contextlib.nullcontext())
    facts = sum(b.facts for b in builder.build(hours))
    built = time.perf_counter() - began
    count = 0
    pseudonyms = Pseudonyms("the secret of a benchmark", STREAM)
    for part in roll(root, contract, pseudonyms, hours):
        store(root, contract, part)
        count += int(part.hourly.rows["count"].sum())
    seconds, cpu = time.perf_counter() - began, time.process_time()
    print(f"facts {built:.1f} s, rollups {seconds - built:.1f} s", file=sys.stderr)  # noqa: T201
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {"seconds": seconds, "cpu": cpu, "rss_peak": peak, "facts": facts, "count": count}
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
