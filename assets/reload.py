"""Dagster loads the definitions anew, without a restart: runs that are under way go on."""

import os

import dagster as dg

from assets.dagster_internals import DagsterGrpcClient
from streamgauge.errors import UserError

_SECONDS = 120
"""How long loading may take: a reload that is given up halfway would be asked for again on each tick."""


def reload_definitions() -> None:
    """Asks the code server that this process belongs to; web server and daemon notice by themselves.

    Raises UserError where there is none to ask, as under `dagster dev`, or it doesn't answer.
    """
    host, port, socket = (os.environ.get(f"STREAMGAUGE_DAGSTER_CODE_{name}") for name in ("HOST", "PORT", "SOCKET"))
    by_hand = "press `Reload definitions` on Dagster's pages"
    if socket is not None:
        client = DagsterGrpcClient(socket=socket)
    elif host is not None and port is not None:
        client = DagsterGrpcClient(port=int(port), host=host)
    else:
        raise UserError("where the code server listens is not known", by_hand)
    try:
        client.reload_code(timeout=_SECONDS)
    except dg.DagsterError as e:
        raise UserError(f"the code server did not load the definitions anew: {e}", by_hand) from e
