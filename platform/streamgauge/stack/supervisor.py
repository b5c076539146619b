"""supervisord, which starts again what dies: its configuration, and a typed view of its XML-RPC.

http://supervisord.org/configuration.html, http://supervisord.org/api.html
"""

import http.client
import os
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from streamgauge.errors import UserError
from streamgauge.settings import PREFIX
from streamgauge.stack.layout import Layout, write_private
from streamgauge.stack.part import Program

MARK = "STREAMGAUGE_STACK"
"""In the environment of all that the supervisor starts: which instance's it is, even when the supervisor is dead."""

_ALREADY_STARTED, _NOT_RUNNING, _SPAWN_ERROR = 60, 70, 50
_UNIX_PATH_MAX = 107

_SETTINGS = """\
[unix_http_server]
file = {socket}
chmod = 0600

[supervisord]
logfile = {log}
logfile_maxbytes = 5MB
logfile_backups = 1
pidfile = {pid}
childlogdir = {logs}
directory = /
umask = 077
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{name}]
command = {command}
directory = {directory}
environment = {environment}
{user}autostart = false
autorestart = true
startsecs = 1
startretries = 10
stopsignal = {stop_signal}
stopwaitsecs = {stop_seconds}
killasgroup = true
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 2
"""


_PASSED = (
    "CONTRACTS_DIR",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "LAKE_URL",
    "ALERT_WEBHOOK_URL",
    "RUNBOOKS_URL",
    "BATCH_START",
    "BASE_PORT",
)
"""Of the caller's settings; the logins come from the instance's credentials."""


@dataclass(frozen=True)
class Process:
    """`state` in supervisord's words: RUNNING, STARTING, STOPPED, STOPPING, EXITED, BACKOFF, FATAL."""

    name: str
    state: str
    pid: int | None
    up_seconds: int

    @property
    def running(self) -> bool:
        return self.state in ("RUNNING", "STARTING")

    @property
    def failed(self) -> bool:
        return self.state in ("FATAL", "EXITED", "BACKOFF")


class Supervisor:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.supervisor

    @property
    def _socket(self) -> Path:
        return self._folder / "socket"

    def pid(self) -> int | None:
        try:
            return cast(int, self._call("getPID"))
        except OSError:
            return None

    def launch(self, programs: Iterable[tuple[str, Program]]) -> None:
        if len(str(self._socket)) > _UNIX_PATH_MAX:
            raise UserError(
                f"the path of the instance's folder is too long for a unix socket: {self._socket}",
                "give it a shorter one with STREAMGAUGE_DATA_DIR",
            )
        config = self._folder / "supervisord.conf"
        write_private(config, self._config(programs))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        done = subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, env=environment(self._layout)
        )
        deadline = time.monotonic() + 10
        while self.pid() is None:
            if done.returncode != 0 or time.monotonic() > deadline:
                raise UserError(
                    f"the supervisor doesn't start: {(done.stderr or done.stdout).strip()[-500:]}",
                    f"see {self._layout.log('supervisor')}",
                )
            time.sleep(0.05)

    def add(self, programs: Iterable[tuple[str, Program]]) -> None:
        """Makes known what a supervisor of an earlier version doesn't know yet, and leaves the rest running."""
        write_private(self._folder / "supervisord.conf", self._config(programs))
        added, _, _ = self._call("reloadConfig")[0]
        for name in added:
            self._call("addProcessGroup", name)

    def processes(self) -> dict[str, Process]:
        """By name; empty where no supervisor runs."""
        try:
            rows = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        except OSError:
            return {}
        return {
            r["name"]: Process(
                r["name"],
                r["statename"],
                r["pid"] or None,
                max(0, r["now"] - r["start"]) if r["pid"] else 0,
            )
            for r in rows
        }

    def start(self, name: str) -> None:
        self._call_unless(_ALREADY_STARTED, "startProcess", name, False)

    def stop(self, name: str) -> None:
        self._call_unless(_NOT_RUNNING, "stopProcess", name, True)

    def shut_down(self, seconds: float = 60) -> None:
        pid = self.pid()
        if pid is None:
            return
        process = psutil.Process(pid)
        self._call("shutdown")
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired as e:
            raise UserError(
                f"the supervisor (process {pid}) is still stopping its programs after {seconds:.0f} s",
                f"see {self._layout.log('supervisor')}",
            ) from e

    def _call_unless(self, harmless: int, method: str, *arguments: Any) -> None:
        try:
            self._call(method, *arguments)
        except xmlrpc.client.Fault as e:
            # What couldn't be spawned shows in the process's state, with its log.
            if e.faultCode not in (harmless, _SPAWN_ERROR):
                raise UserError(
                    f"the supervisor can't do {method} {arguments[0]}: {e.faultString}",
                    f"see {self._layout.log('supervisor')}",
                ) from e

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(self._socket), allow_none=True)
        with proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _config(self, programs: Iterable[tuple[str, Program]]) -> str:
        settings = _SETTINGS.format(
            socket=_escaped(self._socket),
            log=_escaped(self._layout.log("supervisor")),
            pid=_escaped(self._folder / "pid"),
            logs=_escaped(self._layout.log("supervisor").parent),
            user="user = root\n" if os.geteuid() == 0 else "",
        )
        return settings + "".join(self._program(name, program) for name, program in programs)

    def _program(self, name: str, program: Program) -> str:
        environment = {**program.environment, MARK: str(self._layout.root)}
        return _PROGRAM.format(
            name=name,
            command=_escaped(shlex.join(program.command)),
            directory=_escaped(program.directory),
            environment=_escaped(",".join(f'{k}="{v}"' for k, v in environment.items())),
            user=f"user = {program.user}\n" if program.user else "",
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
            log=_escaped(self._layout.log(name)),
        )


def environment(layout: Layout) -> dict[str, str]:
    """Little of the caller's: a server started today and one started tomorrow should be the same."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")}
    ours = {
        k: v
        for k, v in os.environ.items()
        if k.removeprefix(PREFIX) in _PASSED or k.startswith((f"{PREFIX}API_", "AWS_", "OTEL_", "OPENLINEAGE_"))
    }
    contracts = f"{PREFIX}CONTRACTS_DIR"
    if contracts in ours:
        # The processes run in other folders.
        ours[contracts] = str(Path(ours[contracts]).absolute())
    place = {f"{PREFIX}INSTANCE": layout.instance, f"{PREFIX}DATA_DIR": str(layout.root)}
    return {**kept, **ours, **place}


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=90)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)
