"""A number with all that is needed to make it again: the document that `streamgauge proof` writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl
from pydantic import ValidationError

from streamgauge.contract.fingerprint import AS_JSON, data_fingerprint
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.proof.evidence import SignedEvidence
from streamgauge.rollup.finality import FINAL
from streamgauge.rollup.measure_kinds import figures
from streamgauge.rollup.windows import WINDOWS, Window, check_dimensions, merge_minutes, read_windows
from streamgauge.state.evidence import read_evidence
from streamgauge.stores.postgres import Connection
from streamgauge.text import moment

FORMAT = "streamgauge number 1"
COUNTS = ("count", "duplicates")


@dataclass(frozen=True)
class Asked:
    """Which number: of the window that starts then, of the members of `dimensions`, summed over all others."""

    stream: str
    window: str
    start: datetime
    figure: str
    dimensions: Mapping[str, str]


@dataclass(frozen=True)
class ProvenNumber:
    asked: Asked
    value: float | int | None
    contract: Contract
    evidence: Sequence[SignedEvidence]

    def as_json(self) -> dict[str, Any]:
        number = {**asdict(self.asked), "start": self.asked.start.isoformat(), "value": self.value, "status": FINAL}
        return {
            "format": FORMAT,
            "number": number,
            "evidence": [asdict(e) for e in self.evidence],
            "contract": json.loads(AS_JSON.dump_json(self.contract)),
        }

    @staticmethod
    def from_json(text: str) -> "ProvenNumber":
        """Raises UserError for a text that is none."""
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise UserError(f"that is no {FORMAT}, but {found['format']}", "use the version that wrote it")
            number = found["number"]
            asked = Asked(
                str(number["stream"]),
                str(number["window"]),
                datetime.fromisoformat(number["start"]),
                str(number["figure"]),
                {str(k): str(v) for k, v in number["dimensions"].items()},
            )
            evidence = [SignedEvidence(str(e["body"]), str(e["signature"]), int(e["entry"])) for e in found["evidence"]]
            if not evidence:
                raise ValueError("no evidence")
            contract = AS_JSON.validate_python(found["contract"])
            return ProvenNumber(asked, number["value"], contract, evidence)
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as e:
            raise UserError("that is no number with its proof", "streamgauge proof writes one") from e


class NoSuchNumber(UserError):
    """Nothing was counted there."""


class NotProvable(UserError):
    """The number is not final, or its evidence is not there."""


def numbers_of(contract: Contract) -> list[str]:
    return [*COUNTS, *(f.name for f in figures(contract.rollup))]


def check_asked(contract: Contract, asked: Asked) -> Window:
    """Raises UserError where there is no such number."""
    window = Window.parse(asked.window)
    if asked.figure not in numbers_of(contract):
        raise UserError(
            f"{contract.stream} has no number {asked.figure!r}", f"its numbers are {', '.join(numbers_of(contract))}"
        )
    check_dimensions(contract, asked.dimensions)
    if asked.start.tzinfo is None or int(asked.start.timestamp()) % int(window.size.total_seconds()):
        raise UserError(
            f"no window of {asked.window} starts at {asked.start.isoformat()}",
            f"windows of {', '.join(WINDOWS)} start at multiples of their length, in UTC unless it says else",
        )
    return window


def value_of(contract: Contract, asked: Asked, minutes: pl.DataFrame) -> tuple[bool, Any]:
    """Whether there is such a number, and it, from rows of minutes."""
    window = check_asked(contract, asked)
    chosen = minutes.filter(*(pl.col(n) == v for n, v in asked.dimensions.items()))
    merged = merge_minutes(chosen, contract, window).filter(pl.col("window_start") == asked.start)
    return bool(merged.height), merged[asked.figure].item() if merged.height else None


def prove(connection: Connection, contract: Contract, asked: Asked) -> ProvenNumber:
    """Raises UserError for a question that makes no sense, NoSuchNumber and NotProvable."""
    window = check_asked(contract, asked)
    rows = read_windows(connection, contract, window, asked.start, asked.start + window.size, tuple(asked.dimensions))
    found = rows.filter(*(pl.col(n) == v for n, v in asked.dimensions.items()))
    about = f"{asked.figure} of {asked.window} at {moment(asked.start)}"
    if found.is_empty():
        raise NoSuchNumber(f"{contract.stream} has no {about}", "name a window in which something was counted")
    row = found.row(0, named=True)
    if row["status"] != FINAL or row["unchecked"]:
        what = "unchecked: its layers have not been compared since it changed" if row["unchecked"] else "provisional"
        raise NotProvable(f"{about} is {what}", "only a final number has a proof: wait until it is")
    evidence = read_evidence(connection, contract.stream, asked.start, asked.start + window.size)
    if not evidence:
        raise NotProvable(
            f"there is no evidence of {about}",
            "set STREAMGAUGE_AUDIT_KEY for Dagster's code server, by which evidence is signed; then compare the hour:"
            f" {_comparing(contract, asked.start, window)}",
        )
    if any(e.evidence.contract != data_fingerprint(contract) for e in evidence):
        raise NotProvable(
            f"the evidence of {about} is of another version of the contract",
            f"compare the hour again: {_comparing(contract, asked.start, window)}",
        )
    return ProvenNumber(asked, row[asked.figure], contract, evidence)


def _comparing(contract: Contract, start: datetime, window: Window) -> str:
    """The command."""
    first = hour_start(start)
    end = first + max(HOUR, window.size)
    return (
        f"streamgauge backfill reconciliation --stream {contract.stream} --from {hour_key(first)} --to {hour_key(end)}"
    )
