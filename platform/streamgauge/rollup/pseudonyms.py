"""Personal values as pseudonyms, which are all that rollups and top lists have of them.

A stream's values become pseudonyms by a key of that stream: who has the key can tell whether a pseudonym is that of a
value, and who does not can't tell it from any other. Both layers count by pseudonyms, so they order and merge alike.
What a pseudonym stands for can't be computed: the batch layer keeps it, sealed by the same key.
"""

import hashlib
import secrets
import threading
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup.groups import TextIndex
from streamgauge.settings import PREFIX, Settings

MARK = "~"
"""What pseudonyms begin with, so that a reader sees what they are."""

_BYTES = 10
"""Of the hash: the chance that any two of a billion values have the same one is less than one in a million."""
LENGTH = len(MARK) + 2 * _BYTES

_NONCE_BYTES = 12
_REMEMBERED = 200_000
"""Values whose pseudonyms are kept, some 40 MB: a worker meets most people again soon."""
_FEWEST_MISSED = 1_000


class _Known(NamedTuple):
    values: pl.Series
    places: TextIndex
    pseudonyms: pl.Series
    """Row i is that of value i."""

    @classmethod
    def of(cls, values: pl.Series, pseudonyms: pl.Series) -> Self:
        return cls(values, TextIndex(values), pseudonyms)


class Pseudonyms:
    """Of one stream. May be asked from several threads."""

    def __init__(self, secret: str, stream: str) -> None:
        key = hashlib.sha512(secret.encode()).digest()
        self._key = hashlib.blake2b(stream.encode(), key=key, person=b"pseudonyms").digest()
        self._seal = AESGCM(hashlib.blake2b(stream.encode(), key=key, person=b"seals", digest_size=32).digest())
        none = pl.Series(dtype=pl.String)
        self._known = _Known.of(none, none)
        self._new: dict[str, str] = {}
        """Not known yet: these become so together, since each time the index is made anew."""
        self._missed = 0
        self._growing = threading.Lock()
        """Without it two threads could make a value known twice, which the index refuses."""

    @property
    def remembered(self) -> int:
        """Of how many values the pseudonyms are kept."""
        return len(self._known.values) + len(self._new)

    def of(self, value: str) -> str:
        return MARK + hashlib.blake2b(value.encode(), key=self._key, digest_size=_BYTES).hexdigest()

    def of_each(self, values: pl.Series) -> pl.Series:
        """Null stays null. Known values are found without a call in Python for each."""
        known = self._known
        rows = known.places.find(values)
        missing = np.flatnonzero(rows == len(known.values))
        rows[missing] = len(known.values) + np.arange(len(missing), dtype=np.int32)
        new = [None if v is None else self._of_new(v) for v in values[missing].to_list()]
        self._missed += len(missing)
        # by then they have cost as much as the index does
        if self._missed > max(_FEWEST_MISSED, len(known.values) // 2):
            self._grow()
        pseudonyms = pl.concat((known.pseudonyms, pl.Series(new, dtype=pl.String)))
        return pseudonyms.gather(rows).alias(values.name)

    def _of_new(self, value: str) -> str:
        found = self._new.get(value)
        if found is None:
            found = self._new[value] = self.of(value)
        return found

    def _grow(self) -> None:
        with self._growing:
            known, new, self._new, self._missed = self._known, self._new, {}, 0
            values, pseudonyms = pl.Series(list(new), dtype=pl.String), pl.Series(list(new.values()), dtype=pl.String)
            unknown = known.places.find(values) == len(known.values)
            values, pseudonyms = values.filter(unknown), pseudonyms.filter(unknown)
            if len(known.values) + len(values) <= _REMEMBERED:
                values, pseudonyms = pl.concat((known.values, values)), pl.concat((known.pseudonyms, pseudonyms))
            self._known = _Known.of(values.rechunk(), pseudonyms.rechunk())

    def of_column(self, texts: pl.Expr) -> pl.Expr:
        """Of a column in which values come again: each is looked at once."""
        return texts.map_batches(self._of_rows, return_dtype=pl.String, is_elementwise=True)

    def _of_rows(self, texts: pl.Series) -> pl.Series:
        values = texts.unique()
        return texts.replace_strict(values, self.of_each(values), return_dtype=pl.String)

    def sealed(self, value: str) -> bytes:
        """Another text each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, value.encode(), self.of(value).encode())

    def opened(self, pseudonym: str, sealed: bytes) -> str | None:
        """None where it was sealed by another key, or for another pseudonym."""
        try:
            return self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], pseudonym.encode()).decode()
        except InvalidTag:
            return None


def pseudonyms_of(settings: Settings, contract: Contract) -> Pseudonyms:
    """Raises UserError where no key is set."""
    return Pseudonyms(pseudonym_secret(settings), contract.stream)


def pseudonym_secret(settings: Settings) -> str:
    """From which the streams' keys follow. Raises UserError where it is not set."""
    if settings.pseudonym_key is None:
        raise UserError(
            f"{PREFIX}PSEUDONYM_KEY is not set: the key by which personal values become pseudonyms",
            "set it to the same random text for worker, batch layer and API; the local stack makes one",
        )
    return settings.pseudonym_key.get_secret_value()
