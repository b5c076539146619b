"""Which of the contracts can be worked by at once, and which need a new generation of rollups first. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from streamgauge.contract.generations import differences, same_numbers, unreadable, with_numbers_of
from streamgauge.contract.model import Contract
from streamgauge.state.applied import Applied
from streamgauge.state.generations import Generation


@dataclass(frozen=True)
class Pending:
    """A contract that is worked by when its generation is filled, and why it needs one."""

    contract: Contract
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Generations:
    """`contracts` are worked by once they are applied, `unneeded` are generations that nobody asks for any more, and
    `unreadable` is what contracts no longer have though the present generation reads it, by stream.
    """

    contracts: tuple[Contract, ...]
    pending: tuple[Pending, ...] = ()
    unneeded: tuple[tuple[str, int], ...] = ()
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def generations_of(
    files: Iterable[Contract], applied: Mapping[str, Applied], known: Mapping[str, Sequence[Generation]]
) -> Generations:
    contracts: list[Contract] = []
    pending: list[Pending] = []
    unneeded: list[tuple[str, int]] = []
    missing: dict[str, tuple[str, ...]] = {}
    for contract in files:
        before, others = applied.get(contract.stream), known.get(contract.stream, ())
        present = 1 if before is None else before.generation
        waiting = next((g for g in others if g.pending), None)
        reasons = () if before is None or before.contract is None else differences(before.contract, contract)
        if not reasons or before is None or before.contract is None:
            contracts.append(replace(contract, generation=present))
        else:
            worked_by = with_numbers_of(contract, before.contract)
            contracts.append(worked_by)
            if gone := unreadable(worked_by):
                missing[contract.stream] = gone
            if waiting is not None and same_numbers(waiting.as_contract(), contract):
                pending.append(Pending(replace(contract, generation=waiting.number), reasons))
                continue
            number = max([present, *(g.number for g in others)]) + 1
            pending.append(Pending(replace(contract, generation=number), reasons))
        if waiting is not None:
            unneeded.append((contract.stream, waiting.number))
    return Generations(tuple(contracts), tuple(pending), tuple(unneeded), missing)
