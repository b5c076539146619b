"""Bringing an instance of the stack up and down, and saying how it is."""

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import psutil

from streamgauge.errors import UserError
from streamgauge.stack.credentials import Credentials, credentials
from streamgauge.stack.installed import check_installed
from streamgauge.stack.layout import Layout, layout
from streamgauge.stack.part import NotReady, Part
from streamgauge.stack.parts import PARTS, STORES, part
from streamgauge.stack.stores import install, join
from streamgauge.stack.supervisor import MARK, Process, Supervisor

MIN_FREE_BYTES = 1 << 30
_LOG_LINES = 15
_START_SECONDS = 180.0
"""How long a part may take to its first answer. On a busy machine Kafka needs more than a minute; without a bound one
that hangs would be waited for for ever.
"""
_SLOW_SECONDS = 15.0
"""How long a part that runs may leave `up` without an answer before it is restarted: on a busy machine a probe runs out
of time though the part is well, and a restart would make an outage of that.
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Health:
    """One part as it is now."""

    part: Part
    process: Process | None
    version: str | None
    problem: str | None

    @property
    def ready(self) -> bool:
        return self.version is not None

    @property
    def state(self) -> str:
        if self.process is None:
            return "STOPPED"
        return "READY" if self.ready else self.process.state


class Stack:
    """The instance that the environment names, unless another is given."""

    def __init__(self, place: Layout | None = None) -> None:
        self.layout = place or layout()
        self._supervisor = Supervisor(self.layout)

    @property
    def running(self) -> bool:
        return self._supervisor.pid() is not None

    def up(self, everything: bool = False, say: Say = lambda _: None) -> None:
        """Starts the servers, or `everything`, and returns when all of it answers. A second time it changes nothing.
        The stores of traces and logs, which are part of `everything`, come later by themselves.
        """
        check_installed()
        self._check_disk()
        self.layout.make_folders()
        with self._alone():
            known = credentials(self.layout)
            wanted = [p for p in PARTS if (everything and p.name not in STORES) or not p.optional]
            self._launch(known, wanted)
            self._start(known, wanted, say)
        if everything:
            self.join_stores()

    def join_stores(self) -> None:
        """Has the stores fetched, where they are missing, and started, without waiting for it."""
        join(self.layout)

    def start_stores(self, say: Say = lambda _: None) -> None:
        """Fetches the stores, where they are missing, and starts each as soon as it is there.

        Raises UserError at the end if one could not be had or started; the others are there all the same.
        """
        failed: list[UserError] = []
        for name in STORES:
            try:
                install(name)
                self.start_program(name, say=say)
            except UserError as e:
                failed.append(e)
        if failed:
            raise UserError("; ".join(e.what for e in failed), failed[0].hint)

    def start_program(self, *names: str, say: Say = lambda _: None) -> None:
        """Starts parts of a running stack, and waits until they are ready."""
        with self._alone():
            if not self.running:
                raise UserError("the stack is down", "start it with `streamgauge stack up`")
            wanted = [part(name) for name in names]
            known = credentials(self.layout)
            self._launch(known, wanted)
            self._start(known, wanted, say)

    def stop_program(self, name: str) -> None:
        """Raises UserError where there is no such part."""
        stopped = part(name)
        if self.running:
            self._supervisor.stop(stopped.name)

    def down(self) -> bool:
        """Stops everything, dependants first; False where nothing ran."""
        if not self.layout.root.exists():
            return False
        with self._alone():
            running = self.running
            if running:
                for stopped in reversed(PARTS):
                    self._supervisor.stop(stopped.name)
                self._supervisor.shut_down()
            return self._stop_orphans() or running

    def reset(self) -> None:
        """Stops everything and deletes all that this instance ever stored."""
        self.layout.check_own()
        self.down()
        # Its mark goes last: cut off half-way, it must know the rest for its own.
        for folder in filter(Path.is_dir, self.layout.root.glob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.layout.root, ignore_errors=True)

    def health(self) -> list[Health]:
        if not self.running:
            return [Health(p, None, None, "the stack is down") for p in PARTS]
        known, processes = credentials(self.layout), self._supervisor.processes()
        return [_health(p, processes.get(p.name), known) for p in PARTS]

    def log(self, name: str) -> Path:
        path = self.layout.log(name)
        if not path.exists():
            logs = sorted(p.stem for p in path.parent.glob("*.log"))
            raise UserError(f"there is no log of {name!r}", f"there are logs of: {', '.join(logs) or 'nothing yet'}")
        return path

    def log_tail(self, name: str, lines: int = _LOG_LINES) -> str:
        try:
            return "\n".join(self.layout.log(name).read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(it wrote none)"

    def _launch(self, known: Credentials, wanted: list[Part]) -> None:
        processes = self._supervisor.processes()
        if not processes:
            self._stop_orphans()
        self._check_ports(wanted, processes)
        programs = [(p.name, p.program(known)) for p in PARTS]
        if not processes:
            self._supervisor.launch(programs)
        elif not processes.keys() >= {name for name, _ in programs}:
            self._supervisor.add(programs)

    def _start(self, known: Credentials, wanted: list[Part], say: Say) -> None:
        """Each as soon as what it needs is ready, so that those that need nothing start together."""
        waiting = {p.name: p for p in wanted}
        starting: dict[str, tuple[Part, float]] = {}
        while waiting or starting:
            for p in [p for p in waiting.values() if not any(n in waiting or n in starting for n in p.needs)]:
                del waiting[p.name]
                process = self._supervisor.processes()[p.name]
                if process.state == "RUNNING" and not self._answers(p, known):
                    say(f"{p.name} runs and is not ready after {_SLOW_SECONDS:.0f} s: restarting it")
                    self._supervisor.stop(p.name)
                    process = self._supervisor.processes()[p.name]
                if not process.running:
                    p.prepare(known)
                    self._supervisor.start(p.name)
                starting[p.name] = (p, time.monotonic())
            for p, since in list(starting.values()):
                if self._ready(p, known, since):
                    p.set_up(known)
                    del starting[p.name]
                    say(f"{p.name} is ready" + (f" on port {self.layout.port(p.ports[0])}" if p.ports else ""))
            time.sleep(0.05)

    def _answers(self, p: Part, known: Credentials) -> bool:
        """Whether a part that runs is ready, or becomes so soon."""
        until = time.monotonic() + _SLOW_SECONDS
        while (process := self._supervisor.processes()[p.name]).running:
            if _health(p, process, known).ready:
                return True
            if time.monotonic() > until:
                break
            time.sleep(0.2)
        return False

    def _ready(self, p: Part, known: Credentials, since: float) -> bool:
        process = self._supervisor.processes()[p.name]
        why = f"it is {process.state}"
        if process.state == "RUNNING":
            try:
                p.probe(known)
                return True
            except NotReady as e:
                why = str(e)
        late = time.monotonic() - since > _START_SECONDS
        if process.failed or late:
            self._supervisor.stop(p.name)
            reason = f"is not ready after {_START_SECONDS:.0f} s: {why}" if late else "dies at its start"
            raise UserError(
                f"{p.name} {reason}; its last log lines:\n{self.log_tail(p.name)}",
                f"the whole log: `streamgauge stack logs {p.name}`; `streamgauge doctor` looks for the usual causes",
            )
        return False

    def _check_disk(self) -> None:
        existing = next(p for p in (self.layout.root, *self.layout.root.parents) if p.exists())
        free = psutil.disk_usage(str(existing)).free
        if free < MIN_FREE_BYTES:
            raise UserError(
                f"only {free >> 20} MiB are free on the disk of {self.layout.root}; {MIN_FREE_BYTES >> 20} are needed",
                "make room, or put the data elsewhere with STREAMGAUGE_DATA_DIR",
            )

    def _check_ports(self, wanted: list[Part], processes: dict[str, Process]) -> None:
        for p in wanted:
            if p.name in processes and processes[p.name].running:
                continue
            for name in p.ports:
                port = self.layout.port(name)
                holder = port_holder(port)
                if holder is not None:
                    raise UserError(
                        f"port {port}, which {p.name} needs ({name}), is taken by {holder}",
                        "stop that program, or change the ports in platform/stack/stack.toml",
                    )

    def _stop_orphans(self) -> bool:
        """Servers whose supervisor was killed: they would keep the ports, and the locks on their data."""
        orphans = [p for p in psutil.process_iter() if self._is_ours(p)]
        for process in orphans:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(orphans, timeout=20)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=5)
        return bool(orphans)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == str(self.layout.root) and process.pid != os.getpid()
        except (psutil.Error, OSError):
            return False

    @contextlib.contextmanager
    def _alone(self) -> Generator[None]:
        """Two `up`s at once would start everything twice."""
        with self.layout.lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def port_holder(port: int) -> str | None:
    """Who listens there, in words; None if nobody does."""
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.pid is None:
            return "a program of another user"
        try:
            process = psutil.Process(connection.pid)
            return f"{process.name()} (process {process.pid}, user {process.username()})"
        except psutil.Error:
            return f"process {connection.pid}"
    return None


def _health(p: Part, process: Process | None, known: Credentials) -> Health:
    if process is None or process.state != "RUNNING":
        return Health(p, process, None, "not running" if process is None else process.state.lower())
    try:
        return Health(p, process, p.probe(known), None)
    except NotReady as e:
        return Health(p, process, None, str(e))
