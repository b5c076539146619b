"""The commands `streamgauge stack …`."""

import subprocess
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from streamgauge.cli.output import RIGHT, Json, console, print_json, table
from streamgauge.stack.control import Health, Stack
from streamgauge.text import duration

app = typer.Typer(help="The local stack: Kafka, schema registry, Postgres and Redis on loopback.", no_args_is_help=True)


@app.command()
def up(
    everything: Annotated[
        bool, typer.Option("--all", help="The worker, the API, Dagster, Prometheus, the stores of traces and logs too.")
    ] = False,
) -> None:
    """Start every server that isn't running, and wait until all answer."""
    out = console()
    Stack().up(everything, say=out.print)


@app.command()
def down() -> None:
    """Stop everything. What was stored stays."""
    console().print("Stopped." if Stack().down() else "Nothing was running.")


@app.command()
def stores() -> None:
    """Start Zipkin and VictoriaLogs, the stores of traces and logs; what is missing is fetched and built first.

    `up --all` does so behind all else."""
    out = console()
    Stack().start_stores(say=out.print)


_PartName = Annotated[str, typer.Argument(metavar="PART", help="kafka, postgres, worker, dagster-daemon …")]


@app.command()
def stop(name: _PartName) -> None:
    """Stop one part; `stack restart PART` starts it again."""
    stack = Stack()
    stack.stop_program(name)
    console().print(f"{name} is stopped.")


@app.command()
def restart(name: _PartName) -> None:
    """Stop one part, start it, and wait until it is ready."""
    out, stack = console(), Stack()
    stack.stop_program(name)
    stack.start_program(name, say=out.print)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False) -> None:
    """Stop everything and delete all that this instance ever stored."""
    stack = Stack()
    instance = stack.layout.instance
    if not stack.layout.root.exists():
        console().print(f"There is nothing of the instance {instance}: {stack.layout.root} does not exist.")
        return
    if not yes:
        typer.confirm(f"Delete the instance {instance}: {stack.layout.root} and all in it?", abort=True)
    stack.reset()
    console().print(f"The instance {instance} is gone, with all that was in {stack.layout.root}.")


@app.command()
def status(as_json: Json = False) -> None:
    """Show what runs where; exit code 1 if a server or the worker isn't ready."""
    stack = Stack()
    found = stack.health()
    if as_json:
        parts = [_row(stack, h) for h in found]
        print_json({"instance": stack.layout.instance, "data_dir": str(stack.layout.root), "parts": parts})
    elif not stack.running:
        console().print(f"The stack {stack.layout.instance} is down; `streamgauge stack up` starts it.")
    else:
        console().print(health_table(stack, found))
    if not all(h.ready for h in found if h.part.needed):
        raise typer.Exit(1)


def health_table(stack: Stack, found: Sequence[Health]) -> Table:
    shown = table(part="left", state="left", port=RIGHT, pid=RIGHT, up=RIGHT, problem="left")
    for h in found:
        process = h.process
        pid, up_for = (str(process.pid), duration(process.up_seconds)) if process and process.pid else ("-", "-")
        port = _port(stack, h)
        shown.add_row(h.part.name, h.state, str(port or "-"), pid, up_for, h.problem or "")
    return shown


def _port(stack: Stack, health: Health) -> int | None:
    return stack.layout.port(health.part.ports[0]) if health.part.ports else None


def _row(stack: Stack, health: Health) -> dict[str, object]:
    process = health.process
    return {
        "part": health.part.name,
        "state": health.state,
        "ready": health.ready,
        "needed": health.part.needed,
        "version": health.version,
        "problem": health.problem,
        "pid": process.pid if process else None,
        "up_seconds": process.up_seconds if process else None,
        "port": _port(stack, health),
    }


@app.command()
def logs(
    name: _PartName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1)] = 50,
) -> None:
    """Show the last lines of a part's log."""
    stack = Stack()
    path = stack.log(name)
    if follow:
        subprocess.run(["tail", "-n", str(lines), "-F", str(path)], check=False)
    else:
        typer.echo(stack.log_tail(name, lines))
