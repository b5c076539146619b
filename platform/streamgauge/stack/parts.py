"""The parts of the local stack, in the order in which they may start."""

from collections.abc import Callable
from functools import partial

from streamgauge.errors import UserError
from streamgauge.stack import (
    api,
    dagster,
    exporters,
    kafka,
    monitoring,
    postgres,
    redis,
    schema_registry,
    stores,
    worker,
)
from streamgauge.stack.credentials import Credentials
from streamgauge.stack.part import Part, Program


def _exporter(
    name: str,
    port: str,
    program: Callable[[Credentials], Program],
    prepare: Callable[[Credentials], None],
    *needs: str,
) -> Part:
    """Optional: the first numbers don't wait for it."""
    return Part(
        name,
        ports=(port,),
        needs=needs,
        program=program,
        probe=partial(exporters.probe, port=port),
        prepare=prepare,
        optional=True,
        needed=False,
    )


PARTS = (
    Part(
        "postgres",
        ports=("postgres",),
        needs=(),
        program=postgres.program,
        probe=postgres.probe,
        prepare=postgres.prepare,
        set_up=postgres.set_up,
    ),
    Part(
        "kafka",
        ports=("kafka", "kafka-controller", "kafka-metrics"),
        needs=(),
        program=kafka.program,
        probe=kafka.probe,
        prepare=kafka.prepare,
        set_up=kafka.set_up,
    ),
    Part(
        "redis",
        ports=("redis",),
        needs=(),
        program=redis.program,
        probe=redis.probe,
        prepare=redis.prepare,
    ),
    Part(
        "registry",
        ports=("registry", "registry-management"),
        needs=("postgres",),
        program=schema_registry.program,
        probe=schema_registry.probe,
        prepare=schema_registry.prepare,
    ),
    Part(
        "worker",
        ports=("worker-metrics",),
        needs=("postgres", "kafka", "redis", "registry"),
        program=worker.program,
        probe=worker.probe,
        optional=True,
    ),
    Part(
        "api",
        ports=("serving",),
        needs=("postgres", "redis"),
        program=api.program,
        probe=api.probe,
        optional=True,
        needed=False,
    ),
    Part(
        "alertmanager",
        ports=("alertmanager",),
        needs=(),
        program=monitoring.alertmanager,
        probe=monitoring.probe_alertmanager,
        prepare=monitoring.prepare_alertmanager,
        optional=True,
        needed=False,
    ),
    _exporter("postgres-exporter", "postgres-metrics", exporters.postgres, exporters.prepare_postgres, "postgres"),
    _exporter("redis-exporter", "redis-metrics", exporters.redis, exporters.prepare_redis, "redis"),
    _exporter("host-exporter", "host-metrics", exporters.host, exporters.prepare_host),
    _exporter("process-exporter", "process-metrics", exporters.processes, exporters.prepare_processes),
    Part(
        "prometheus",
        ports=("prometheus",),
        needs=(),
        program=monitoring.prometheus,
        probe=monitoring.probe_prometheus,
        prepare=monitoring.prepare_prometheus,
        optional=True,
        needed=False,
    ),
    Part(
        "zipkin",
        ports=("zipkin",),
        needs=(),
        program=stores.zipkin,
        probe=stores.probe_zipkin,
        prepare=stores.prepare_zipkin,
        optional=True,
        needed=False,
    ),
    Part(
        "victoria-logs",
        ports=("victoria-logs",),
        needs=(),
        program=stores.victoria_logs,
        probe=stores.probe_victoria_logs,
        prepare=stores.prepare_victoria_logs,
        optional=True,
        needed=False,
    ),
    Part(
        "dagster-code",
        ports=(),
        needs=("postgres", "kafka", "registry"),
        program=dagster.code,
        probe=dagster.probe_code,
        prepare=dagster.prepare,
        optional=True,
        needed=False,
    ),
    Part(
        "dagster",
        ports=("dagster",),
        needs=("dagster-code",),
        program=dagster.web,
        probe=dagster.probe_web,
        optional=True,
        needed=False,
    ),
    Part(
        "dagster-daemon",
        ports=(),
        needs=("dagster-code",),
        program=dagster.daemon,
        probe=dagster.probe_daemon,
        optional=True,
        needed=False,
    ),
)

EXPORTERS = ("postgres-exporter", "redis-exporter", "host-exporter", "process-exporter")
STORES = ("zipkin", "victoria-logs")
"""Fetched and started behind all else, and never waited for."""


def part(name: str) -> Part:
    """Raises UserError where there is none of that name."""
    found = next((p for p in PARTS if p.name == name), None)
    if found is None:
        raise UserError(f"the stack has no part {name!r}", f"its parts are {', '.join(p.name for p in PARTS)}")
    return found
