"""Takes a topic into the lake, hour by hour of ingest time, as the Dagster asset does."""

import json
import resource
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from assets.lake.load import load_hour
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.dagster.hours import HourRange, parse_hour
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect


def main() -> None:
    job = json.load(sys.stdin)
    settings = Settings.for_role("batch")
    contract = find_contract(load_contracts(Path(job["contracts"])), job["stream"])
    now = datetime.now(UTC)
    rows = stored = 0
    began, cpu = time.perf_counter(), time.process_time()
    with connect(settings, autocommit=True) as connection:
        for hour in HourRange(parse_hour(job["first"]), parse_hour(job["last"])).hours:
            loaded = load_hour(
                settings, contract, connection, hour, now=now, start=date(2000, 1, 1), run_id="bench"
            ).stored
            rows, stored = rows + loaded.rows, stored + loaded.bytes
    found = {
        "rate": {"records": rows, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu},
        "bytes": stored,
        "rss_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
