"""`streamgauge api-keys`."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from streamgauge.access.api import known_scopes
from streamgauge.access.load import load_access
from streamgauge.audit.log import append, person
from streamgauge.cli.output import Json, console, print_json, table
from streamgauge.contract.load import load_contracts
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state import api_keys as keys
from streamgauge.state.api_keys import StoredKey, key_event
from streamgauge.stores.postgres import connect_or_explain
from streamgauge.text import moment

app = typer.Typer(help="Keys to the API: make, list, revoke.", no_args_is_help=True)

_APPLICATION = "streamgauge api-keys"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what uses it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read:STREAM, write:STREAM (* for all), operations, dagster, personal, admin."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--as", help="The scopes of one of the access file's callers, such as operator.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="How long it is valid; by default for ever.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    settings = Settings.for_role("admin")
    rights = load_access(settings.access_file).api
    if kind is not None and kind not in rights.callers:
        raise UserError(f"the access file has no caller {kind!r}", f"its callers are {', '.join(rights.callers)}")
    known = known_scopes(rights, [c.stream for c in load_contracts(settings.contracts_dir)])
    wanted = (*(rights.callers[kind].scopes if kind else ()), *(scope or ()))
    scopes = keys.checked_scopes(wanted, known)
    with connect_or_explain(settings, application=_APPLICATION) as connection:
        key, stored = keys.create(connection, name, scopes, None if days is None else timedelta(days=days))
        append(connection, key_event("api-key.create", stored, person()))
    if as_json:
        print_json({"key": key, **_plain(stored)})
        return
    typer.echo(key)
    console().print("[dim]Keep it: it can't be shown again.[/dim]")


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """Show all keys, without their secrets."""
    with connect_or_explain(Settings.for_role("admin"), application=_APPLICATION) as connection:
        found = keys.listed(connection)
    if as_json:
        print_json([_plain(k) for k in found])
        return
    shown = table(id="left", name="left", scopes="left", created="left", expires="left", revoked="left")
    for k in found:
        shown.add_row(
            k.id, k.name, ", ".join(k.scopes), moment(k.created_at), moment(k.expires_at), moment(k.revoked_at)
        )
    console().print(shown)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """End a key's validity; the API forgets it within 10 seconds."""
    with connect_or_explain(Settings.for_role("admin"), application=_APPLICATION) as connection:
        done = keys.revoke(connection, key_id)
        for key in keys.listed(connection):
            if done and key.id == key_id:
                append(connection, key_event("api-key.revoke", key, person()))
    if not done:
        raise UserError(f"there is no valid key {key_id!r}", "`streamgauge api-keys list` shows them")


def _plain(key: StoredKey) -> dict[str, object]:
    def iso(time: datetime | None) -> str | None:
        return None if time is None else time.isoformat()

    return {
        "id": key.id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
    }
