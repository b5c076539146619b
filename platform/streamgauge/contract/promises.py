"""What the platform promises of a stream whose topic somebody else makes and writes, in sentences for people."""

from streamgauge.contract.model import BY_POSITION, Contract


def source_promises(contract: Contract) -> tuple[str, ...]:
    """None where the platform makes the topic itself: all promises hold there."""
    source = contract.source
    if source is None:
        return ()
    return (
        f"Nothing of the topic {source.topic} or its subject is changed, and nothing is sent to it.",
        _ids(contract),
        "Ingest times are the broker's, or where the topic keeps CreateTime those of the producers' clocks.",
    )


def _ids(contract: Contract) -> str:
    source = contract.source
    assert source is not None
    if source.id == BY_POSITION:
        return "Event ids are places in the topic: what is sent twice counts twice."
    same = contract.event_id if source.id is None else source.id[0] if len(source.id) == 1 else None
    built = "read from the records" if source.id is None else f"made of {', '.join(source.id)}"
    if source.key is not None and source.key == same:
        return f"Event ids are {built}, and are the key: both layers count an event that is sent twice once."
    return (
        f"Event ids are {built}, and are not the key: an event that is sent twice, to two partitions, is counted twice"
        " by the speed layer and once by the batch layer, whose numbers are final."
    )
