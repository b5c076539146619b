"""The project's settings file, which the command takes up before anything reads the environment."""

import os
from collections.abc import MutableMapping
from pathlib import Path

from dotenv import dotenv_values

from streamgauge.settings import PREFIX

NAME = "streamgauge.env"
_PATHS = tuple(f"{PREFIX}{name}" for name in ("ACCESS_FILE", "CONTRACTS_DIR", "DATA_DIR"))


def find_settings_file(folder: Path) -> Path | None:
    """The project's that `folder` is in: its own, or that of the nearest folder around it."""
    return next((f for place in (folder, *folder.parents) if (f := place / NAME).is_file()), None)


def take_up_settings(folder: Path, environment: MutableMapping[str, str] = os.environ) -> None:
    """What the file says and the environment doesn't, so that processes started from here have it too. Relative paths
    are from the file's folder."""
    file = find_settings_file(folder)
    if file is None:
        return
    for name, value in dotenv_values(file, interpolate=False).items():
        if value is not None and name.startswith(PREFIX):
            environment.setdefault(name, str(file.parent / value) if name in _PATHS else value)
