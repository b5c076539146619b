"""Compiles the C sources into one library when the package is built or installed.

The library describes itself: the signature of each function that Python may call, the layout of each struct and the
value of each constant are taken from the sources as they are compiled, so Python has no copy of them that could differ.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FOLDERS = (HERE.parent, ROOT / "streaming")
LIBRARY = HERE / "_native.so"
# no -march: a wheel must run on other machines than the one that built it
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion", f"-I{HERE}"]

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_FUNCTION = re.compile(r"^(void|int64_t) (streamgauge_\w+)\(((?:[^(){}]|\([^()]*\))*)\) \{", re.MULTILINE)
_STRUCT = re.compile(r"^typedef struct \{([^{}]*)\} (\w+);", re.MULTILINE)
_ENUM = re.compile(r"^enum \{([^{}]*)\};", re.MULTILINE)


def compile_library(into: Path, *more: str) -> None:
    """Raises CalledProcessError, with the compiler's own words on stderr."""
    # beside it and then moved: a process that has the old one open keeps it
    compiled = into.with_suffix(f".{os.getpid()}")
    with TemporaryDirectory() as folder:
        sources = list(_described(Path(folder)))
        subprocess.run([os.environ.get("CC", "cc"), *FLAGS, *more, "-o", str(compiled), *sources], check=True)
    compiled.replace(into)


def _described(folder: Path) -> Iterator[str]:
    """For each source one that includes it and adds the numbers of its description; and one with all that is text."""
    description: dict[str, Any] = {"functions": {}, "structs": {}, "constants": {}}
    for path in sorted(p for f in FOLDERS for p in f.rglob("*.[ch]")):
        text = _COMMENT.sub("", path.read_text())
        name, numbers = f"streamgauge_numbers_{path.stem}_{path.suffix[1:]}", ["0"]
        for result, function, arguments in _FUNCTION.findall(text):
            description["functions"][function] = [result, [_kind(a) for a in _split(arguments)]]
        for body, struct in _STRUCT.findall(text):
            if struct in description["structs"]:
                raise ValueError(f"{path}: another source has a struct {struct} too")
            fields = [f for line in body.split(";") if line.strip() for f in _fields(line)]
            description["structs"][struct] = {"numbers": name, "first": len(numbers), "fields": fields}
            numbers += [f"sizeof({struct})", *(f"offsetof({struct}, {field})" for field, _ in fields)]
        for body in _ENUM.findall(text):
            for constant in (c.split("=")[0].strip() for c in body.split(",")):
                description["constants"][f"{path.stem}.{constant}"] = [name, len(numbers)]
                numbers.append(constant)
        described = folder / f"{path.stem}_{path.suffix[1:]}.c"
        described.write_text(
            f'#include <stddef.h>\n#include "{path}"\nextern const int64_t {name}[];\n'
            f"const int64_t {name}[] = {{{', '.join(numbers)}}};\n"
        )
        yield str(described)
    text = folder / "description.c"
    quoted = json.dumps(json.dumps(description, separators=(",", ":")))
    text.write_text(f"extern const char streamgauge_description[];\nconst char streamgauge_description[] = {quoted};\n")
    yield str(text)


def _split(arguments: str) -> list[str]:
    return re.split(r",(?![^()]*\))", " ".join(arguments.split()))


def _fields(line: str) -> list[tuple[str, str]]:
    """Of one declaration, which may be of several names."""
    kind, first, more = re.fullmatch(r"((?:const )?\w+) ([^,]+)((?:,[^,]+)*)", " ".join(line.split())).groups()  # pyright: ignore[reportOptionalMemberAccess]
    declared = [d.split("[")[0] for d in (first, *more.split(",")[1:])]
    return [(re.findall(r"\w+", d)[-1], _kind(f"{kind} {d}")) for d in declared]


def _kind(declaration: str) -> str:
    """`pointer`, which a function is too, `text` for a pointer to chars, or the type's own name."""
    kind = declaration.replace("const ", "").split()[0]
    if "*" not in declaration:
        return kind
    return "text" if kind == "char" else "pointer"


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version
        compile_library(LIBRARY)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))
