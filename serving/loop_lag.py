"""How late the event loop is: what blocks it holds up every request and every live client."""

import asyncio

from streamgauge.telemetry import metrics

_SECONDS = 0.5
"""Between two looks: a block that is shorter than this may fall between them, and is felt by few."""


async def watch_loop() -> None:
    """Until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _SECONDS
        await asyncio.sleep(_SECONDS)
        metrics.LOOP_LAG.record(max(0.0, loop.time() - due))
