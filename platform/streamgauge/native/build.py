"""Compiles the C sources of the base package into one library when the package is built or installed."""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
PACKAGE = HERE.parent
LIBRARY = HERE / "_native.so"
# no -march: a wheel must run on other machines than the one that built it
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


def compile_library(into: Path, *more: str) -> None:
    """Raises CalledProcessError, with the compiler's own words on stderr."""
    sources = sorted(map(str, PACKAGE.rglob("*.c")))
    # beside it and then moved: who has the old one open keeps it
    made = into.with_suffix(f".{os.getpid()}")
    subprocess.run([os.environ.get("CC", "cc"), *FLAGS, f"-I{HERE}", *more, "-o", str(made), *sources], check=True)
    made.replace(into)


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        compile_library(LIBRARY)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))
