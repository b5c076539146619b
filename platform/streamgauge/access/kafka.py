"""Kafka's ACLs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streamgauge.access.model import Access, KafkaGroup, Principal
from streamgauge.contract.model import Contract


@dataclass(frozen=True)
class Acl:
    """`user` may do `operation` on this resource: the client's words in lower case, where `broker` is the cluster."""

    user: str
    resource: str
    name: str
    operation: str
    pattern: str = "literal"
    host: str = "*"


def acls(access: Access, contracts: Iterable[Contract]) -> tuple[Acl, ...]:
    """Users are named as the principals. The owner is a super user, and needs none."""
    contracts = tuple(contracts)
    given = (acl for name, p in access.principals.items() for c in contracts for acl in _of_stream(name, p, c))
    return tuple(dict.fromkeys(given))


def resources(contract: Contract) -> dict[KafkaGroup, tuple[str, str]]:
    """The type and name of each of a stream's resources."""
    counts = contract.counts_topic
    found: dict[KafkaGroup, tuple[str, str]] = {
        "events": ("topic", contract.topic),
        "dead-letters": ("topic", contract.dead_letter_topic),
        "worker-group": ("group", contract.group),
    }
    return found if counts is None else {**found, "counts": ("topic", counts)}


def _of_stream(name: str, principal: Principal, contract: Contract) -> Iterator[Acl]:
    if principal.streams is not None and contract.stream not in principal.streams:
        return
    found = resources(contract)
    for group, operations in principal.kafka.items():
        if group in found:
            # nobody here writes to somebody else's topic
            given = [o for o in operations if not (group == "events" and contract.source and o == "write")]
            yield from (Acl(name, *found[group], operation) for operation in given)
