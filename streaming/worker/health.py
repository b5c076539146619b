"""What an orchestrator asks a worker: whether a new process would help, and whether this one counts."""

from collections.abc import Collection, Mapping

from streaming.worker.heartbeats import Heartbeats
from streaming.worker.session import Session

HANGING_SECONDS = 120.0
"""A thread that is silent for longer hangs: without the bound, its partitions would stand until somebody looks. No work
on one batch takes that long, nor does a takeover; a shorter one would kill a worker over one slow commit."""
_STUCK_SECONDS = 15.0
"""A thread that is silent for longer waits for an answer that should be there."""


class Health:
    def __init__(self, process: Heartbeats, streams: Collection[str], sessions: Mapping[str, Session]) -> None:
        """`streams` are those worked on, `sessions` each one's present session; both may change."""
        self._process = process
        self._streams = streams
        self._sessions = sessions

    def alive(self) -> list[str]:
        """Reasons to replace the process; none where it is well, or waits for a server and says so."""
        return self._silent(HANGING_SECONDS)

    def ready(self) -> list[str]:
        """Why it counts nothing now of what it should; none where it does, or other workers have all partitions."""
        if not self._streams:
            return ["no stream is applied"]
        sessions = dict(self._sessions)
        away = [f"{stream} has no session" for stream in sorted(self._streams) if stream not in sessions]
        waits = [f"{name} waits for {s}" for name, of in sorted(sessions.items()) for s in of.heartbeats.waiting_for()]
        return [*away, *waits, *self._silent(_STUCK_SECONDS)]

    def _silent(self, seconds: float) -> list[str]:
        beats = [self._process, *(session.heartbeats for session in list(self._sessions.values()))]
        return [f"the thread {name} is silent" for of in beats for name in of.silent(seconds)]
