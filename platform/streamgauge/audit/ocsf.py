"""An entry as an event of the Open Cybersecurity Schema Framework (https://schema.ocsf.io), and back.

Class 6003 (API Activity), version 1.3.0. `raw_data` is the entry's body, byte for byte, and `unmapped.digest` its
digest: an export can be verified by itself.
"""

import json
from datetime import datetime
from importlib.metadata import version
from typing import Any

from streamgauge.audit.entry import AuditEntry

_SCHEMA = "1.3.0"
_CATEGORY, _CLASS = 6, 6003
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_ACTIVITIES = {"create": _CREATE, "read": _READ, "revoke": _DELETE}
_INFORMATIONAL, _SUCCESS = 1, 1


def as_ocsf(entry: AuditEntry) -> dict[str, Any]:
    fields = entry.fields
    activity = _ACTIVITIES.get(fields["action"].rpartition(".")[2], _UPDATE)
    event: dict[str, Any] = {
        "category_uid": _CATEGORY,
        "class_uid": _CLASS,
        "activity_id": activity,
        "type_uid": _CLASS * 100 + activity,
        "severity_id": _INFORMATIONAL,
        "status_id": _SUCCESS,
        "time": round(datetime.fromisoformat(fields["at"]).timestamp() * 1000),
        "metadata": {
            "version": _SCHEMA,
            "product": {"name": "Streamgauge", "vendor_name": "Streamgauge", "version": version("streamgauge")},
            "sequence": entry.number,
        },
        "actor": {"user": {"name": fields["actor"]}},
        "api": {"operation": fields["action"]},
        "resources": [{"name": fields["subject"]}],
        "raw_data": entry.body,
        "unmapped": {"digest": entry.digest, "login": fields["login"]},
    }
    if "address" in fields:
        event["src_endpoint"] = {"ip": fields["address"]}
    if "reason" in fields:
        event["message"] = fields["reason"]
    return event


def from_ocsf(line: str) -> AuditEntry | None:
    """None for a line that is no such event."""
    try:
        event = json.loads(line)
        number, digest = int(event["metadata"]["sequence"]), str(event["unmapped"]["digest"])
        return AuditEntry(number, str(event["raw_data"]), digest)
    except (ValueError, KeyError, TypeError):
        return None
