"""What the compiled library says of itself."""

import ctypes
import re
from pathlib import Path

import pytest

from streamgauge.errors import UserError
from streamgauge.native import library
from streamgauge.settings import CHECKOUT

SOURCES = [p for folder in ("platform/streamgauge", "streaming") for p in (CHECKOUT / folder).rglob("*.py")]


def test_every_function_that_python_calls_has_the_signature_it_was_compiled_with() -> None:
    called = {name for p in SOURCES for name in re.findall(r"native\.(streamgauge_\w+)", Path(p).read_text())}
    assert len(called) > 15
    for name in called:
        function = getattr(library.native, name)
        assert function.argtypes, f"{name} is not described"
    seen = library.native.streamgauge_seen
    pointer, count, hash64, byte = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint8
    assert (seen.restype, seen.argtypes) == (count, [pointer, pointer, hash64, byte, byte, pointer, count, pointer])


def test_constants_and_sizes_are_the_compilers() -> None:
    assert library.constant("avro.ENDS_EARLY") == -1
    assert library.constant("avro.PICKED") == 14
    assert library.size_of("Item") == 32


def test_a_struct_that_ctypes_would_lay_out_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in library.fields_of("Texts")] == ["views", "buffers", "validity", "first_bit"]
    monkeypatch.setitem(library._TYPES, "pointer", ctypes.c_int32)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(UserError, match="the compiled struct Texts is laid out in another way"):
        library.fields_of("Texts")
