"""The compiled functions of the package. Each call lets Python's other threads run."""

import ctypes
from pathlib import Path
from typing import Any

from streamgauge.errors import UserError

_PATH = Path(__file__).with_name("_native.so")


class Pick(ctypes.Structure):
    """As avro.c describes it."""

    _fields_ = (("key", ctypes.c_char_p), ("size", ctypes.c_int32), ("target", ctypes.c_int32))


class Column(ctypes.Structure):
    """As avro.c describes it."""

    _fields_ = (
        ("kind", ctypes.c_int32),
        ("nulls", ctypes.c_int32),
        ("validity", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_int64),
        ("data_capacity", ctypes.c_int64),
        ("keys", ctypes.c_void_p),
        ("texts", ctypes.c_void_p),
        ("entries", ctypes.c_int64),
        ("entries_capacity", ctypes.c_int64),
        ("picks", ctypes.c_void_p),
        ("picks_size", ctypes.c_int32),
        ("shortest", ctypes.c_int32),
        ("longest", ctypes.c_int32),
        ("nul", ctypes.c_int32),
    )


class Texts(ctypes.Structure):
    """As views.h describes it."""

    _fields_ = (
        ("views", ctypes.c_void_p),
        ("buffers", ctypes.c_void_p),
        ("validity", ctypes.c_void_p),
        ("first_bit", ctypes.c_int64),
    )


class Field(ctypes.Structure):
    """As pg_binary.c describes it."""

    _fields_ = (("texts", Texts), ("width", ctypes.c_int64))


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(_PATH))
        _declare(library)
    except (OSError, AttributeError) as e:
        raise UserError(f"the compiled part can't be used: {e}", "install again: make install") from e
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, count, hash64, byte = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint8
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "streamgauge_schema_ids": (None, [pointer, pointer, count, pointer]),
        "streamgauge_decode": (count, [pointer] * 3 + [count] + [pointer] * 4 + [ctypes.c_int32] + [pointer] * 2),
        "streamgauge_messages": (None, [pointer, count] + [pointer] * 5),
        "streamgauge_misplaced": (None, [pointer] * 3 + [count, ctypes.c_int32, pointer]),
        "streamgauge_seen": (count, [pointer, pointer, hash64, byte, byte, pointer, count, pointer]),
        "streamgauge_seen_copy": (count, [pointer, pointer, count, byte, byte, pointer, pointer, hash64]),
        "streamgauge_keys": (None, [pointer, count] + [pointer] * 2),
        "streamgauge_timestamps": (None, [pointer, count, pointer, pointer]),
        "streamgauge_pg_size": (count, [pointer, count]),
        "streamgauge_pg_elements": (None, [pointer, count, pointer]),
        "streamgauge_pg_rows": (None, [pointer, ctypes.c_int16, count, pointer]),
        "streamgauge_coupons": (None, [pointer, count, pointer]),
        "streamgauge_add_coupons": (None, [pointer] * 5 + [count] + [pointer] * 2),
        "streamgauge_add_values": (None, [pointer] * 5 + [count] + [pointer] * 2),
        "streamgauge_merge_values": (count, [pointer] * 2 + [count, pointer, count] + [pointer] * 3),
        "streamgauge_add_keys": (
            None,
            [pointer] * 6 + [count, byte] + [pointer] * 3 + [count] + [pointer] * 3,
        ),
        "streamgauge_text_codes": (count, [pointer, count, pointer, hash64] + [pointer] * 2),
        "streamgauge_find_texts": (None, [pointer, pointer, hash64, pointer, count, ctypes.c_int32, pointer]),
        "streamgauge_number_codes": (count, [pointer, count, pointer, hash64] + [pointer] * 2),
        "streamgauge_order": (None, [pointer, pointer, byte, count, count] + [pointer] * 2),
        "streamgauge_measure": (None, [pointer] * 3 + [count] + [pointer] * 4),
        "streamgauge_destroy": (None, [pointer, count, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


native = _load()
