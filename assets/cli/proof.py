"""`streamgauge proof` and `streamgauge verify`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streamgauge.audit.checkpoint import public_key
from streamgauge.cli.output import Json, console, print_json
from streamgauge.contract.in_use import load_applied
from streamgauge.contract.load import find_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.proof.number import Asked, ProvenNumber, prove
from streamgauge.rollup.pseudonyms import Pseudonyms, pseudonyms_of
from streamgauge.settings import Settings, lake_root
from streamgauge.stores.postgres import connect_or_explain

_FORMATS = ["%Y-%m-%dT%H:%M", "%Y-%m-%d-%H"]


def proof(
    stream: Annotated[str, typer.Argument(help="The stream, such as user_events.")],
    figure: Annotated[str, typer.Argument(help="The number, such as count or commits_mean.")],
    start: Annotated[datetime, typer.Option("--at", formats=_FORMATS, help="Start of the window, UTC.")],
    window: Annotated[str, typer.Option(help="1m, 5m or 1h.")] = "1h",
    of: Annotated[
        list[str] | None, typer.Option(help="A dimension's member, such as level=error; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; by default it is printed.")] = None,
) -> None:
    """Write a final number with all that is needed to make it again from the lake: `streamgauge verify` does."""
    settings = Settings.for_role("reader")
    contract = find_contract(load_applied(settings), stream)
    members = dict(_member(text) for text in of or ())
    asked = Asked(stream, window, start.replace(tzinfo=UTC), figure, members)
    with connect_or_explain(settings, application="streamgauge proof") as connection:
        found = prove(connection, contract, asked)
    text = json.dumps(found.as_json(), indent=2)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n")


def verify(
    file: Annotated[Path, typer.Argument(help="What `streamgauge proof` wrote.")],
    lake: Annotated[str | None, typer.Option(help="The lake's folder or URL; by default this instance's.")] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="The public key, as `streamgauge audit key` prints it: who signed is not believed by itself."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a number again from the lake alone, and say whether it is the same; exit code 1 if it is not."""
    # the batch layer's code comes with it, and a list of the commands should not wait for that
    from assets.proof.verify import verify as verify_number

    try:
        proven = ProvenNumber.from_json(file.read_text())
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{file} can't be read", "name the file that `streamgauge proof` wrote") from e
    trusted = None if key is None else public_key(key)
    found = verify_number(proven, lake or lake_root(), trusted, _pseudonyms)
    if as_json:
        print_json({"holds": found.holds, "value": found.value, "checks": found.checks, "faults": found.faults})
    else:
        for check in found.checks:
            console().print(check, markup=False)
        for fault in found.faults:
            console().print(fault, style="red", markup=False)
        if found.holds:
            console().print(f"{proven.asked.figure} is {found.value}, as the number says.", style="green", markup=False)
            if trusted is None:
                console().print("Compare the key with that of `streamgauge audit key`, or give it by --key.")
    if not found.holds:
        raise typer.Exit(1)


def _pseudonyms(contract: Contract) -> Pseudonyms:
    """Without a personal dimension a machine elsewhere needs no key: no number hangs on it."""
    personal = any(map(contract.is_personal, contract.rollup.dimensions))
    return pseudonyms_of(Settings.for_role("batch"), contract) if personal else Pseudonyms("", contract.stream)


def _member(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise UserError(f"{text!r} is no member of a dimension", "write it as NAME=VALUE")
    return name, value
