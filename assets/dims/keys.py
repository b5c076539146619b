"""Keys of dimension members. A key follows from the member alone, so it is the same in every rebuild, on any machine,
and anyone can make it again in SQL: the first eight bytes of the MD5 of the member's text, as a signed integer.
"""

import hashlib

import polars as pl

SEPARATOR = "\x1f"
"""Between a member and the moment its version begins, in the text of a version's key."""


def key_of(text: str) -> int:
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def keys_of(texts: pl.Series) -> pl.Series:
    """For each text its key. Each different text is hashed once."""
    if texts.is_empty():
        return pl.Series(texts.name, dtype=pl.Int64)
    different = texts.unique()
    keys = pl.Series([key_of(t) for t in different.to_list()], dtype=pl.Int64)
    return texts.replace_strict(different, keys, return_dtype=pl.Int64).alias(texts.name)


def version_key(member: str, valid_from_us: int) -> int:
    return key_of(f"{member}{SEPARATOR}{valid_from_us}")
