"""The API's paths, a module for each thing asked about. A module here is a part of the API by its `router` alone."""

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from fastapi import APIRouter


def routers() -> Iterator[APIRouter]:
    """Those of all modules here, in the order of their names."""
    for module in sorted(m.name for m in iter_modules(__path__)):
        yield import_module(f"{__name__}.{module}").router
