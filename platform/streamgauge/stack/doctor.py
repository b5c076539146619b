"""Looks for what keeps the stack, or the worker on it, from working."""

import platform
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psutil
import psycopg
from confluent_kafka import KafkaException

from streamgauge.apply.execute import plan
from streamgauge.contract.load import load_contracts
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stack import installed
from streamgauge.stack.control import MIN_FREE_BYTES, Health, Stack, port_holder
from streamgauge.stack.layout import stack_file
from streamgauge.state.accounts import read_accounts
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect
from streamgauge.text import plural

Verdict = Literal["ok", "note", "problem"]

MIN_FREE_MEMORY = 1 << 30
WORRYING_LAG = 100_000


@dataclass(frozen=True)
class Finding:
    """A problem is what keeps something from working; a note is worth knowing and no more."""

    check: str
    verdict: Verdict
    detail: str
    hint: str = ""


def examine(stack: Stack) -> Iterator[Finding]:
    """Every check, each with its finding; those that need a server only where that server answers."""
    yield from _installed()
    yield _disk(stack)
    yield _memory(stack)
    yield from _credentials(stack)
    found = stack.health()
    yield from _ports(stack, found)
    servers = [h for h in found if not h.part.optional]
    for health in servers:
        yield _server(health)
    yield from (_program(h) for h in found if h.part.optional and h.part.needed)
    if not all(h.ready for h in servers):
        return
    contracts = _guarded("contracts", _contracts)
    yield contracts
    for health in found:
        if not health.part.needed:
            yield _program(health)
    if contracts.verdict == "ok":
        yield _guarded("worker's lag", _lag)


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except UserError as e:
        return Finding(check, "problem", e.what, e.hint)
    except (psycopg.Error, KafkaException) as e:
        return Finding(check, "problem", str(e).strip(), "streamgauge stack status")


def _installed() -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    checks: dict[str, Callable[[], object]] = {
        "java": installed.java,
        "kafka": installed.kafka_jars,
        "registry": installed.registry_jar,
        "postgres": lambda: installed.postgres_bin("postgres"),
        "timescaledb": installed.check_timescaledb,
        "redis": installed.redis_server,
        "prometheus": lambda: installed.debian_program("prometheus"),
        "alertmanager": lambda: installed.debian_program("prometheus-alertmanager"),
        "exporters": _exporters,
        "servers' user": installed.server_user,
    }
    versions = stack_file().versions
    for name, look in checks.items():

        def installation(name: str = name, look: Callable[[], object] = look) -> Finding:
            place = look()
            return Finding(f"{name} installed", "ok", str(place or versions.get(name, "not needed")))

        yield _guarded(f"{name} installed", installation)


def _exporters() -> None:
    for name in ("postgres", "redis", "node", "process"):
        installed.debian_program(f"prometheus-{name}-exporter")
    installed.jmx_agent()


def _disk(stack: Stack) -> Finding:
    existing = next(p for p in (stack.layout.root, *stack.layout.root.parents) if p.exists())
    free = psutil.disk_usage(str(existing)).free
    detail = f"{free / (1 << 30):.1f} GiB free at {stack.layout.root}"
    if free < MIN_FREE_BYTES:
        return Finding("disk", "problem", detail, "make room, or put the data elsewhere with STREAMGAUGE_DATA_DIR")
    return Finding("disk", "ok", detail)


def _memory(stack: Stack) -> Finding:
    free = psutil.virtual_memory().available
    detail = f"{free / (1 << 30):.1f} GiB available"
    if free < MIN_FREE_MEMORY and not stack.running:
        return Finding("memory", "problem", detail, "the servers and the worker need about 1 GiB: end other programs")
    return Finding("memory", "ok", detail)


def _credentials(stack: Stack) -> Iterator[Finding]:
    folder = stack.layout.credentials
    if not folder.exists():
        yield Finding("credentials", "note", "none yet: the first `streamgauge stack up` makes them")
        return
    for path in (folder, *sorted(folder.iterdir())):
        wanted = 0o700 if path.is_dir() else 0o600
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode != wanted:
            yield Finding(
                "credentials", "problem", f"{path} has the mode {mode:o} and not {wanted:o}", f"chmod {wanted:o} {path}"
            )
            return
    yield Finding("credentials", "ok", f"only their owner can read {folder}")


def _ports(stack: Stack, found: list[Health]) -> Iterator[Finding]:
    """Only of what doesn't run: a running part holds its ports itself."""
    for health in found:
        if health.process is not None and health.process.running:
            continue
        for name in health.part.ports:
            port = stack.layout.port(name)
            holder = port_holder(port)
            if holder is not None:
                yield Finding("ports", "problem", f"{port} ({name}) is taken by {holder}", "stop that program")


def _server(health: Health) -> Finding:
    name = health.part.name
    if health.version is None:
        problem = health.problem or "no answer"
        return Finding(f"{name} answers", "problem", problem, "streamgauge stack up; streamgauge stack logs " + name)
    wanted = stack_file().versions[name]
    if health.version != wanted and not health.version.startswith(f"{wanted}."):
        return Finding(
            f"{name} answers", "problem", f"version {health.version}, wanted {wanted}", "run platform/stack/install.sh"
        )
    return Finding(f"{name} answers", "ok", f"version {health.version}")


def _contracts() -> Finding:
    settings = Settings.for_role("admin")
    contracts = load_contracts(settings.contracts_dir)
    found = plan(settings, contracts)
    if found.refusals:
        return Finding("contracts", "problem", f"{plural(len(found.refusals), 'change')} refused", "streamgauge plan")
    if found.changes:
        return Finding(
            "contracts", "problem", f"{plural(len(found.changes), 'change')} not applied", "streamgauge apply"
        )
    return Finding("contracts", "ok", f"{len(contracts)} applied")


def _program(health: Health) -> Finding:
    """A stopped needed part is a problem; what else nobody started may be meant so."""
    name = health.part.name
    if health.ready:
        return Finding(f"{name} runs", "ok", f"process {health.process and health.process.pid}")
    stopped = health.process is None or health.process.state == "STOPPED"
    verdict = "note" if stopped and not health.part.needed else "problem"
    hint = f"streamgauge stack restart {name}; streamgauge stack logs {name}"
    return Finding(f"{name} runs", verdict, health.problem or "no answer", hint)


def _lag() -> Finding:
    settings = Settings.for_role("reader")
    with connect(settings, autocommit=True, application="streamgauge doctor") as connection:
        accounts = read_accounts(connection, admin_client(settings), load_contracts(settings.contracts_dir))
    lags = ", ".join(f"{a.stream} {a.lag}" for a in accounts)
    if any(a.pauses for a in accounts):
        return Finding("worker's lag", "problem", f"partitions are paused; {lags}", "streamgauge dead-letters list")
    if not all(a.adds_up for a in accounts):
        return Finding("worker's lag", "problem", f"records are unaccounted for; {lags}", "streamgauge streams")
    if any((a.lag or 0) > WORRYING_LAG for a in accounts):
        return Finding("worker's lag", "note", lags, "the worker is behind: streamgauge streams, again in a while")
    return Finding("worker's lag", "ok", lags)
