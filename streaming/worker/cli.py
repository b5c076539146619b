"""The commands `streamgauge worker` and `streamgauge resume`."""

import faulthandler
import gc
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from streamgauge.contract.folder import load_valid_contracts, read_folder
from streamgauge.contract.in_use import ContractsInUse
from streamgauge.contract.load import find_contract
from streamgauge.errors import UserError
from streamgauge.rollup.pseudonyms import pseudonym_secret
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect, connect_or_explain
from streamgauge.telemetry.logs import configure_logs, own_stderr
from streaming.worker.memory import keep_freed_memory
from streaming.worker.process import run_worker

_YOUNG_OBJECTS = 200_000
"""Objects between two looks for garbage cycles: with Python's own 700 it would be hundreds a batch."""


def worker(
    stream: Annotated[list[str] | None, typer.Argument(help="Streams to work on; all if none is named.")] = None,
) -> None:
    """Run a stream worker in the foreground, until SIGTERM or Ctrl-C."""
    settings = Settings.for_role("worker")
    # the threads that need it would only log that it is missing, again and again
    pseudonym_secret(settings)
    found = read_folder(settings.contracts_dir)
    if not found.faults:
        contracts = load_valid_contracts(settings.contracts_dir)
        for name in stream or ():
            find_contract(contracts, name)
    # a batch is many thousands of objects that form no cycles: don't look for some every few hundred of them
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
    keep_freed_memory()
    stderr = own_stderr()
    faulthandler.enable(stderr)
    configure_logs(settings, stderr)
    connect_to_applied = partial(connect, settings, autocommit=True, application="streamgauge worker contracts")
    run_worker(settings, ContractsInUse(settings.contracts_dir, connect_to_applied, stream or ()))


def resume(
    stream: Annotated[str, typer.Argument(help="The stream whose partitions to resume.")],
    partition: Annotated[int | None, typer.Argument(help="One partition; all paused ones if none is named.")] = None,
) -> None:
    """Let the worker go on with partitions that the dead-letter limit paused."""
    settings = Settings.for_role("admin")
    contract = find_contract(load_valid_contracts(settings.contracts_dir), stream)
    with connect_or_explain(settings, application="streamgauge resume") as connection:
        rows = connection.execute(
            "delete from stream_pauses where topic = %s and (partition = %s or %s::int is null) returning partition",
            (contract.topic, partition, partition),
        ).fetchall()
    if not rows:
        raise UserError(f"nothing is paused in {stream}", "`streamgauge streams` shows what each stream is doing")
    resumed = ", ".join(str(r[0]) for r in sorted(rows))
    Console().print(f"{stream}: partition {resumed} goes on; the worker notices within 5 s")
