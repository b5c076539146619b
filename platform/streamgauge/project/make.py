"""Makes the folder of a project: an example contract, settings, and what to do next."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from streamgauge.errors import UserError
from streamgauge.project.settings_file import NAME
from streamgauge.settings import CHECKOUT

FIRST_PORT = 20_000
"""Above those of the instances that platform/stack/stack.toml names, and below those that systems give away."""


def make_project(folder: Path, base_port: int = FIRST_PORT) -> list[Path]:
    """The files made. Raises UserError where one of them is there already: a project is somebody's work."""
    instance = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-") or "project"
    names = {
        "instance": instance,
        "base_port": str(base_port),
        "api_port": str(base_port + 10),
        "deploy": str(CHECKOUT / "platform" / "deploy"),
    }
    texts = {
        folder / "contracts" / "orders.yaml": _template("contracts", "orders.yaml").read_text(),
        folder / NAME: _template(NAME).read_text().format_map(names),
        folder / "README.md": _template("README.md").read_text().format_map(names),
    }
    there = [f for f in texts if f.exists()]
    if there:
        raise UserError(f"{', '.join(map(str, there))} is there already", "give `streamgauge init` a folder of its own")
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return list(texts)


def _template(*parts: str) -> Traversable:
    return files("streamgauge.project").joinpath("files", *parts)
