"""The command itself."""

from importlib.metadata import version

from typer.testing import CliRunner

from streamgauge.cli import build


def test_says_its_version() -> None:
    done = CliRunner().invoke(build(), ["--version"])
    assert (done.exit_code, done.stdout.strip()) == (0, version("streamgauge"))
