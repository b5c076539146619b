"""The compiled functions, as the library describes itself (build.py). Each call lets Python's other threads run."""

import ctypes
import json
from pathlib import Path
from typing import Any

from streamgauge.errors import UserError

_PATH = Path(__file__).with_name("_native.so")

_TYPES: dict[str, Any] = {
    "void": None,
    "pointer": ctypes.c_void_p,
    "text": ctypes.c_char_p,
    "uint8_t": ctypes.c_uint8,
    "int16_t": ctypes.c_int16,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "int": ctypes.c_int,
    "size_t": ctypes.c_size_t,
}

Fields = tuple[tuple[str, Any], ...]


def _load() -> tuple[ctypes.CDLL, dict[str, Any]]:
    try:
        library = ctypes.CDLL(str(_PATH))
        text = ctypes.cast(library.streamgauge_description, ctypes.c_char_p).value or b""
        description = json.loads(text)
        for name, (result, arguments) in description["functions"].items():
            function = getattr(library, name)
            function.restype, function.argtypes = _TYPES[result], [_TYPES[a] for a in arguments]
    except (OSError, AttributeError, KeyError, ValueError) as e:
        raise UserError(f"the compiled part can't be used: {e}", "install again: make install") from e
    return library, description


native, _description = _load()


def _number(of: str, place: int) -> int:
    return (ctypes.c_int64 * (place + 1)).in_dll(native, of)[place]


def constant(name: str) -> int:
    """A constant of the C, as `source.NAME`. Raises KeyError where there is none."""
    return _number(*_description["constants"][name])


def size_of(struct: str) -> int:
    """In bytes."""
    described = _description["structs"][struct]
    return _number(described["numbers"], described["first"])


def fields_of(struct: str, **others: Any) -> Fields:
    """For a ctypes.Structure: the fields of the C struct of this name; `others` are structs that it holds.

    Raises UserError where ctypes would lay them out in another way than the compiler did.
    """
    described = _description["structs"][struct]
    fields = tuple((name, {**_TYPES, **others}[kind]) for name, kind in described["fields"])
    struct_type: Any = type(struct, (ctypes.Structure,), {"_fields_": fields})
    laid_out = [ctypes.sizeof(struct_type), *(getattr(struct_type, name).offset for name, _ in fields)]
    compiled = [_number(described["numbers"], described["first"] + i) for i in range(len(laid_out))]
    if laid_out != compiled:
        raise UserError(f"the compiled struct {struct} is laid out in another way: {compiled}, not {laid_out}")
    return fields
