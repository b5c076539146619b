"""Dagster's processes over a test's own contracts: the stack's own would load all of the checkout's."""

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from streamgauge.dagster.client import Dagster
from streamgauge.dagster.hours import HourRange, hour_key, hour_of
from streamgauge.dagster.keys import AssetPath
from streamgauge.settings import PREFIX
from streamgauge.stack import dagster
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.stack.part import NotReady
from streamgauge.stack.parts import part
from tests.integration.workers import wait_for

_MADE = """query ($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
  assetMaterializations(limit: 5000) { partition runId }
} } }"""
_CHECKED = """query ($path: [String!]!, $check: String!) { assetNodeOrError(assetKey: {path: $path}) {
  ... on AssetNode { assetCheckOrError(checkName: $check) { ... on AssetCheck { partitionStatuses {
    ... on AssetCheckTimePartitionStatuses { ranges { status startKey endKey } }
  } } }
} } }"""
_LAUNCH = """mutation ($job: String!) { launchRun(executionParams: {runConfigData: {}, selector: {
  repositoryLocationName: "streamgauge", repositoryName: "__repository__", jobName: $job
}}) { __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
_LOG_CHARACTERS = 8_000
_STOP_SECONDS = 30


class DagsterProcesses:
    """Code server, web server and daemon. Leaving the block ends them, and the runs that they began."""

    NAMES = ("dagster-code", "dagster", "dagster-daemon")

    def __init__(self, stack: Stack, contracts_dir: Path) -> None:
        self._stack = stack
        self._contracts_dir = contracts_dir
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "DagsterProcesses":
        known = credentials(self._stack.layout)
        dagster.prepare(known)
        try:
            for name in self.NAMES:
                self._start(name)
        except BaseException as e:
            self.__exit__(type(e), e, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        alive = [psutil.Process(p.pid) for p in self._running if p.poll() is None]
        children = [c for p in alive for c in p.children(recursive=True)]
        for process in reversed(self._running):
            process.terminate()
        for process in self._running:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)
        for child in children:
            if child.is_running():
                child.kill()
        if error is not None:
            for name in self.NAMES:
                print(name, self._log(name).read_text()[-_LOG_CHARACTERS:])  # noqa: T201  pytest shows it

    def _start(self, name: str) -> None:
        known, wanted = credentials(self._stack.layout), part(name)
        program = wanted.program(known)
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                program.command,
                cwd=program.directory,
                env={**os.environ, **program.environment, f"{PREFIX}CONTRACTS_DIR": str(self._contracts_dir)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)

        def ready() -> bool:
            assert process.poll() is None, f"{name} ended"
            try:
                wanted.probe(known)
            except NotReady:
                return False
            return True

        wait_for(ready, f"{name} answers", 120)

    def log(self) -> str:
        """Of the code server, its sensors and its runs."""
        return self._log("dagster-code").read_text(errors="replace")

    def _log(self, name: str) -> Path:
        return self._contracts_dir / f"{name}.log"

    def kill_runs(self) -> int:
        """Kills the processes of the runs under way, as if the machine had lost them; how many."""
        code = psutil.Process(self._running[0].pid)
        runs = [p for p in code.children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
        for run in runs:
            run.send_signal(signal.SIGKILL)
        return len(runs)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._stack.layout.port('dagster')}"

    def run(self, job: str, seconds: float) -> str:
        """Launches it, as the button on its page does. Returns how it ended."""
        launched = self._ask(_LAUNCH, {"job": job})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        api, run = Dagster(self.url), launched["run"]["runId"]
        wait_for(lambda: api.run_state(run) != "running", f"{job} has ended", seconds)
        return api.run_state(run)

    def materializations(self, path: AssetPath) -> Counter[str]:
        """How often each partition was materialized."""
        answer: Any = self._ask(_MADE, {"path": list(path)})
        return Counter(m["partition"] for m in answer["assetNodeOrError"]["assetMaterializations"])

    def passed(self, path: AssetPath, check: str) -> set[str]:
        """The hours whose latest rows have passed the check, as its page shows them."""
        answer: Any = self._ask(_CHECKED, {"path": list(path), "check": check})
        ranges = answer["assetNodeOrError"]["assetCheckOrError"]["partitionStatuses"]["ranges"]
        found = {(r["startKey"], r["endKey"]) for r in ranges if r["status"] == "SUCCEEDED"}
        return {hour_key(h) for first, last in found for h in HourRange(hour_of(first), hour_of(last)).hours}

    def _ask(self, query: str, variables: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=30)
        return answer.raise_for_status().json()["data"]
