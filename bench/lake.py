"""From Kafka to the lake: a process of its own takes the topic's hours of ingest time."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.others import Rate
from bench.report import Row
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_key
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT, Settings

_TIMEOUT = 900.0


RAW_RATIO, MAX_RSS_MIB = 0.6, 1024


@dataclass(frozen=True)
class LakeLoad:
    rate: Rate
    bytes: int
    rss_peak: int


def take(settings: Settings, contract: Contract, since: datetime) -> LakeLoad:
    """All that came in since then."""
    job = {
        "contracts": str(settings.contracts_dir),
        "stream": contract.stream,
        "first": hour_key(since),
        "last": hour_key(datetime.now(UTC)),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.children.lake"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            cwd=CHECKOUT,
        )
    except subprocess.TimeoutExpired as e:
        raise UserError(f"the lake takes more than {_TIMEOUT:.0f} s", "try fewer --events") from e
    if done.returncode:
        raise UserError(f"taking the topic into the lake failed: {done.stderr.strip()[-2000:]}", "")
    found = json.loads(done.stdout.splitlines()[-1])
    return LakeLoad(Rate(**found["rate"]), found["bytes"], found["rss_peak"])


def rows(loaded: LakeLoad, raw: float, events: int) -> list[Row]:
    """`raw` is what `consume()` alone reads a second."""
    count, own = loaded.rate.records, loaded.rate.per_second
    peak = loaded.rss_peak / 2**20
    stored = f"{count:,}, {loaded.bytes / max(count, 1):.0f} bytes each"
    return [
        Row("Kafka to the lake", f"{own:,.0f}/s", own / raw, f">= {RAW_RATIO} of raw", own / raw >= RAW_RATIO),
        Row("  CPU an event", f"{(loaded.rate.cpu or 0.0) / max(count, 1) * 1e6:.2f} us"),
        Row("  resident memory, peak", f"{peak:.0f} MiB", None, f"< {MAX_RSS_MIB} MiB", peak < MAX_RSS_MIB),
        Row("  rows in the lake", stored, None, f"{events:,}", count == events),
    ]
