"""Writes the evidence of hours that a comparison found final and good."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from assets.code import code_version
from quality.reconciliation.verdict import FIGURES, HourResult
from quality.reconciliation.write import HourStatus
from streamgauge.audit.checkpoint import public_text, signing_key
from streamgauge.audit.entry import AuditEvent
from streamgauge.audit.log import append
from streamgauge.contract.fingerprint import data_fingerprint
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.proof.evidence import Evidence, LakeFile, SignedEvidence, digest_of, signature_of
from streamgauge.settings import Settings
from streamgauge.state.evidence import read_evidence, write_evidence
from streamgauge.stores.fact_tables import duplicates_table, facts_table
from streamgauge.stores.files import Files
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_progress, watermark_of

CODE = ("assets.facts", "assets.rollups", "streamgauge.rollup", "streamgauge.expression")
"""What makes numbers of records."""


@dataclass(frozen=True)
class FinalHour:
    result: HourResult
    revision: int
    accepted: bool


def final_hours(compared: Iterable[tuple[HourResult, HourStatus]]) -> list[FinalHour]:
    """Those that are final and whose layers agree, or of which a person accepted that they don't."""
    return [
        FinalHour(result, status.revision, status.accepted)
        for result, status in compared
        if status.revision is not None and (result.passed or status.accepted)
    ]


def note_evidence(
    connection: Connection, settings: Settings, contract: Contract, run_id: str, hours: Sequence[FinalHour]
) -> None:
    """Of hours whose facts and rollups the caller keeps from changing since they were compared, where it is another
    than before. Without a key to sign by, there is none.
    """
    if settings.audit_key is None or not hours:
        return
    key = signing_key(settings)
    progress = read_progress(connection, [contract.topic])[contract.topic]
    files = _files(settings.lake, contract, [hour_key(h.result.hour) for h in hours])
    shared: dict[str, Any] = {
        "stream": contract.stream,
        "at": datetime.now(UTC),
        "contract_version": contract.version,
        "contract": data_fingerprint(contract),
        "code": code_version([contract], CODE),
        "watermark": watermark_of(progress),
        "offsets": {str(p.partition): p.next for p in progress},
        "public_key": public_text(key),
    }
    ends = min(h.result.hour for h in hours), max(h.result.hour for h in hours) + HOUR
    stored = (signed.evidence for signed in read_evidence(connection, contract.stream, *ends))
    before = {evidence.hour: evidence for evidence in stored}
    for hour in hours:
        at = hour.result.hour
        evidence = Evidence(
            **shared,
            hour=at,
            revision=hour.revision,
            reconciliation={**{f: getattr(hour.result, f) for f in FIGURES}, "accepted": hour.accepted},
            files=tuple(files.get(hour_key(at), ())),
        )
        if at in before and before[at].says_as(evidence):
            continue
        body = evidence.as_text()
        with connection.transaction():
            about = {"revision": hour.revision, "sha256": digest_of(body)}
            event = AuditEvent("hour.evidence", f"{contract.stream}/{hour_key(at)}", f"run {run_id}", after=about)
            entry = append(connection, event)
            write_evidence(connection, contract.stream, at, SignedEvidence(body, signature_of(key, body), entry))


def _files(root: str, contract: Contract, keys: list[str]) -> dict[str, list[LakeFile]]:
    """By hour: facts, then duplicates."""
    found: dict[str, list[LakeFile]] = {}
    for name, table in (("facts", facts_table(root, contract)), ("duplicates", duplicates_table(root, contract))):
        files = Files(table.url)
        for key, paths in table.paths(keys).items():
            for path in paths:
                size, digest = files.digest(path)
                found.setdefault(key, []).append(LakeFile(name, path, size, digest))
    return found
