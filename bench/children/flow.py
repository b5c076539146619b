"""Events at a steady rate, as cheaply as a process can send them: the machine is for what is measured meanwhile.

`python -m bench.children.flow RATE SECONDS`
"""

import sys
import time

from bench.place import STREAM, USERS
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.settings import Settings
from streaming.load.fill import fill
from streaming.load.generate import Shape
from streaming.load.load import Plan


def main() -> None:
    rate, seconds = float(sys.argv[1]), float(sys.argv[2])
    settings = Settings.for_role("producer")
    contract = find_contract(load_contracts(settings.contracts_dir), STREAM)
    start_ms, began, sent = time.time_ns() // 1_000_000, time.monotonic(), 0

    def wait_until_due(more: int) -> None:
        nonlocal sent
        sent += more
        time.sleep(max(0.0, began + sent / rate - time.monotonic()))

    fill(settings, contract, Plan(round(rate * seconds), rate, start_ms, start_ms), Shape(USERS), wait_until_due)


if __name__ == "__main__":
    main()
