"""What every asset of the batch layer needs, as a Dagster resource: settings, contracts, connections."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial

import dagster as dg

from assets.tracing import run_span
from streamgauge.contract.in_use import ContractsInUse
from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection, connect


class BatchResource(dg.ConfigurableResource["BatchResource"]):
    """Settings come from the environment and the credentials file, never from run config: that is kept in Dagster's
    database and shown on its pages.
    """

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Generator["BatchResource"]:
        """Dagster gives it to a run once, and takes it back at the end."""
        with nullcontext() if context.run is None else run_span(context.run, self.settings.zipkin_url):
            yield self

    @cached_property
    def settings(self) -> Settings:
        return Settings.for_role("batch")

    @cached_property
    def contracts(self) -> Sequence[Contract]:
        """As they were applied."""
        in_use = ContractsInUse(self.settings.contracts_dir, partial(self.connect, autocommit=True))
        in_use.refresh()
        return tuple(in_use.values())

    def connect(self, *, autocommit: bool = False) -> Connection:
        return connect(self.settings, autocommit=autocommit, application="streamgauge-batch")
