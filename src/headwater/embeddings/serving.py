"""Serving copies: vectors as float32, float16 or int8 with a scale a row, made after averaging.

Shape suffixes: N rows, D numbers a row, B bytes a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.errors import ConfigError


def _int8_encode(rows_ND: np.ndarray) -> np.ndarray:
    largest = np.abs(rows_ND).max(axis=1, keepdims=True, initial=0).astype(np.float32)
    scale = np.maximum(largest, np.float32(1e-12)) / np.float32(127)
    numbers = np.rint(rows_ND / scale).astype(np.int8)
    return np.hstack([scale.view(np.uint8), numbers.view(np.uint8)])


def _int8_decode(bytes_NB: np.ndarray) -> np.ndarray:
    scale = np.ascontiguousarray(bytes_NB[:, :4]).view(np.float32)
    return np.asarray(np.ascontiguousarray(bytes_NB[:, 4:]).view(np.int8) * scale, np.float32)


@dataclass(frozen=True)
class Encoding:
    """float32 [N, D] -> bytes uint8 [N, B] and back.

    `int8` is symmetric, the largest absolute value of a row being 127.
    """

    name: str
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]

    def as_served(self, rows_ND: np.ndarray) -> np.ndarray:
        """What a reader gets of float32 rows."""
        return rows_ND if self.name == "float32" else self.decode(self.encode(rows_ND))


def _as_bytes(rows: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(rows)
    return rows.view(np.uint8).reshape(len(rows), rows.shape[1] * rows.itemsize)


ENCODINGS = {
    "float32": Encoding(
        "float32", _as_bytes, lambda raw: np.ascontiguousarray(raw).view(np.float32)
    ),
    "float16": Encoding(
        "float16",
        lambda rows: _as_bytes(np.clip(rows, -65504, 65504).astype(np.float16)),
        lambda raw: np.ascontiguousarray(raw).view(np.float16).astype(np.float32),
    ),
    "int8": Encoding("int8", _int8_encode, _int8_decode),
}


def encoding_of(name: str) -> Encoding:
    if name not in ENCODINGS:
        raise ConfigError(f"no encoding named {name!r}; there are: {', '.join(ENCODINGS)}.")
    return ENCODINGS[name]
