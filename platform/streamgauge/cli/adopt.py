"""`streamgauge adopt`."""

from typing import Annotated

import typer

from streamgauge.adopt.draft import draft, stream_name
from streamgauge.adopt.guess import shape_of
from streamgauge.adopt.sample import read_topic
from streamgauge.cli.output import console
from streamgauge.errors import UserError
from streamgauge.records.registry import registry
from streamgauge.settings import Settings


def adopt(
    topic: Annotated[str, typer.Argument(help="A topic that others make and write.")],
    stream: Annotated[
        str | None, typer.Option(help="Its name here; by default the topic's, as far as allowed.")
    ] = None,
    records: Annotated[int, typer.Option(min=1, max=100_000, help="How many of the latest to look at.")] = 2_000,
) -> None:
    """Write a first contract for a topic that is there already, guessed from its records; change nothing of it."""
    settings = Settings.for_role("admin")
    name = stream or stream_name(topic)
    file = settings.contracts_dir / f"{name}.yaml"
    if file.exists():
        raise UserError(f"{file} is there already", "give the stream another name with --stream")
    client = registry(settings)
    try:
        found = read_topic(settings, client, topic, records)
    finally:
        client.close()
    shape = shape_of(found)
    text = draft(name, found, shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    out = console()
    ids = "made of its place in the topic" if shape.event_id is None else f"guessed to be {shape.event_id.path}"
    out.print(f"made {file}: {len(shape.fields)} fields of {found.format}; the event id is {ids}.", soft_wrap=True)
    out.print("Next: look at what is marked as a guess, then streamgauge contract check, plan and apply.")
