"""What the audit log says of a plan that was applied."""

import json
from collections.abc import Iterator, Sequence

from streamgauge.apply.changes import (
    AllowKafka,
    AllowRelation,
    AllowSchema,
    Change,
    ForbidKafka,
    ForbidRelation,
    ForbidSchema,
    SetRedisRights,
    TakeUpContract,
    TakeUpPrincipals,
    describe,
)
from streamgauge.apply.plan import Plan
from streamgauge.audit.entry import Action, AuditEvent
from streamgauge.contract.fingerprint import AS_JSON

_ACCESS = (
    AllowKafka,
    ForbidKafka,
    AllowSchema,
    ForbidSchema,
    AllowRelation,
    ForbidRelation,
    SetRedisRights,
    TakeUpPrincipals,
)


def audit_events(plan: Plan, actor: str) -> Iterator[AuditEvent]:
    """A contract by itself, as it was and as it is; rights, and what else was changed, as `apply` lists them."""
    rest: dict[Action, list[Change]] = {"access.apply": [], "structure.apply": []}
    for change in plan.changes:
        if isinstance(change, TakeUpContract):
            before = None if change.before is None else json.loads(AS_JSON.dump_json(change.before))
            after = json.loads(AS_JSON.dump_json(change.contract))
            yield AuditEvent("contract.apply", change.contract.stream, actor, before=before, after=after)
        else:
            rest["access.apply" if isinstance(change, _ACCESS) else "structure.apply"].append(change)
    for action, changes in rest.items():
        if changes:
            yield AuditEvent(action, "platform", actor, after=_lines(changes))


def _lines(changes: Sequence[Change]) -> list[str]:
    return [" ".join(filter(None, (d.action, d.target, d.detail))) for d in map(describe, changes)]
