"""Entity ids: strings or 64-bit integers outside, one 64-bit hash inside.

An integer and its decimal text are the same id (`712` == `"712"`), so a log that stores numbers, a
log that stores text and a person at a terminal all mean the same entity.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import xxhash

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_INT64 = np.iinfo(np.int64)


def as_integer(text: str) -> int | None:
    """The integer that `text` spells canonically, or None ('007' and '1e3' stay text)."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if _INT64.min <= value <= _INT64.max else None


def mix64(values_N: np.ndarray) -> np.ndarray:
    """SplitMix64 finaliser (Steele et al. 2014): uint64 -> uint64, a bijection."""
    with np.errstate(over="ignore"):
        z = values_N.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def key_of(value: int | str) -> int:
    """The 64-bit key of one id."""
    if isinstance(value, str):
        number = as_integer(value)
        if number is None:
            return xxhash.xxh3_64_intdigest(value.encode(), seed=1)
        value = number
    return int(mix64(np.array([value], dtype=np.int64).view(np.uint64))[0])


def is_id(dtype: pl.DataType) -> bool:
    """Ids are integers or text; 712.0 is neither, and would silently match nothing."""
    return dtype.is_integer() or dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def as_integers(ids: pl.Series) -> bool:
    """Whether a column of ids is of integers that 64 signed bits hold; all others are text."""
    if not ids.dtype.is_integer():
        return False
    if ids.dtype not in (pl.UInt64, pl.Int128, pl.UInt128) or len(ids) == 0:
        return True
    low = True if ids.dtype.is_unsigned_integer() else (ids >= _INT64.min).all()
    return bool(low and (ids <= _INT64.max).all())


def keys_of(ids: pl.Series) -> np.ndarray:
    """The 64-bit keys, uint64 [N], of a column of ids without nulls."""
    if as_integers(ids):
        return mix64(ids.cast(pl.Int64).to_numpy().view(np.uint64))
    texts = ids.cast(pl.String)
    uniques = texts.unique()
    table = pl.DataFrame(
        {"id": uniques, "key": pl.Series(_keys_of_texts(uniques), dtype=pl.UInt64)}
    )
    joined = pl.DataFrame({"id": texts}).join(table, on="id", how="left", maintain_order="left")
    return joined["key"].to_numpy()


def _keys_of_texts(texts: pl.Series) -> np.ndarray:
    """`key_of` of each text: those that spell integers all at once."""
    numbers = texts.str.to_integer(strict=False)
    spelt = (texts.str.contains(f"^(?:{_INTEGER.pattern})$") & numbers.is_not_null()).to_numpy()
    keys = np.zeros(len(texts), np.uint64)
    keys[spelt] = mix64(numbers.filter(pl.Series(spelt)).to_numpy().view(np.uint64))
    others = texts.filter(pl.Series(~spelt)).to_list()
    keys[~spelt] = [xxhash.xxh3_64_intdigest(value.encode(), seed=1) for value in others]
    return keys


def hash_values(values: pl.Series, seed: int) -> np.ndarray:
    """Stable 64-bit hashes, uint64 [N], of any column's values; nulls give 0. For feature hashing.

    XXH3 of the value as text, at least 1. Long columns go in pieces that stay in the processor's
    cache.
    """
    pieces = [
        _hash_texts(values.slice(start, _PIECE).cast(pl.String), seed)
        for start in range(0, len(values), _PIECE)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.uint64)


_PIECE = 1 << 15
_MASK32 = np.uint64(0xFFFFFFFF)
_SECRET = bytes.fromhex(  # the first bytes of the one in XXH3's specification
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
)


def _secret(first: int) -> int:
    return int.from_bytes(_SECRET[first : first + 8], "little") ^ int.from_bytes(
        _SECRET[first + 8 : first + 16], "little"
    )


def _hash_texts(texts: pl.Series, seed: int) -> np.ndarray:
    arrow = texts.to_arrow(compat_level=pl.CompatLevel.oldest())  # offsets and bytes, not views
    buffers = arrow.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    data = buffers[2] if buffers[2] is not None else b""
    # Every text can be read as two words of 8 bytes; those that overlap its neighbours are masked
    # below.
    padded = np.zeros(int(offsets[-1]) + 16, np.uint8)
    padded[: offsets[-1]] = np.frombuffer(data, np.uint8)[: offsets[-1]]
    starts, lengths = offsets[:-1], np.diff(offsets)
    out = np.empty(len(arrow), np.uint64)
    with np.errstate(over="ignore"):
        for low, high, rule in ((1, 3, _xxh3_1to3), (4, 8, _xxh3_4to8), (9, 16, _xxh3_9to16)):
            rows = np.flatnonzero((lengths >= low) & (lengths <= high))
            if len(rows):
                found = rule(padded, starts[rows], lengths[rows].astype(np.uint64), seed)
                if len(rows) == len(out):
                    out = found
                else:
                    out[rows] = found
    whole = padded.tobytes() if ((lengths == 0) | (lengths > 16)).any() else b""
    for row in np.flatnonzero((lengths == 0) | (lengths > 16)):
        out[row] = xxhash.xxh3_64_intdigest(whole[offsets[row] : offsets[row + 1]], seed=seed)
    hashes = np.maximum(out, np.uint64(1))
    return (
        np.where(texts.is_null().to_numpy(), np.uint64(0), hashes) if texts.null_count() else hashes
    )


def _words(padded: np.ndarray, starts_N: np.ndarray, width: int) -> np.ndarray:
    """The `width` bytes from each start on as one little-endian number."""
    view = np.lib.stride_tricks.as_strided(padded[:1], (len(padded) - width + 1, width), (1, 1))
    return np.ascontiguousarray(view[starts_N]).view(f"<u{width}").ravel().astype(np.uint64)


def _u64(value: int) -> np.uint64:
    return np.uint64(value % (1 << 64))


def _avalanche(z: np.ndarray, first: int, last: int, *primes: int) -> np.ndarray:
    z = (z ^ (z >> np.uint64(first))) * np.uint64(primes[0])
    if len(primes) > 1:
        z = (z ^ (z >> np.uint64(29))) * np.uint64(primes[1])
    return np.asarray(z ^ (z >> np.uint64(last)))


def _xxh3_1to3(
    padded: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray, seed: int
) -> np.ndarray:
    n = lengths_N.astype(np.int64)
    first, middle, last = (padded[starts_N + at].astype(np.uint64) for at in (0, n >> 1, n - 1))
    combined = (
        (first << np.uint64(16)) | (middle << np.uint64(24)) | last | (lengths_N << np.uint64(8))
    )
    flip = (int.from_bytes(_SECRET[:4], "little") ^ int.from_bytes(_SECRET[4:8], "little")) + seed
    return _avalanche(combined ^ _u64(flip), 33, 32, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def _xxh3_4to8(
    padded: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray, seed: int
) -> np.ndarray:
    seed ^= int.from_bytes((seed & 0xFFFFFFFF).to_bytes(4, "little"), "big") << 32
    head, tail = (
        _words(padded, starts_N, 4),
        _words(padded, starts_N + lengths_N.astype(np.int64) - 4, 4),
    )
    z = (tail + (head << np.uint64(32))) ^ _u64(_secret(8) - seed)
    z ^= _turn(z, 49) ^ _turn(z, 24)
    z *= np.uint64(0x9FB21C651E98DF25)
    z ^= (z >> np.uint64(35)) + lengths_N
    z *= np.uint64(0x9FB21C651E98DF25)
    return np.asarray(z ^ (z >> np.uint64(28)))


def _xxh3_9to16(
    padded: np.ndarray, starts_N: np.ndarray, lengths_N: np.ndarray, seed: int
) -> np.ndarray:
    low = _words(padded, starts_N, 8) ^ _u64(_secret(24) + seed)
    high = _words(padded, starts_N + lengths_N.astype(np.int64) - 8, 8) ^ _u64(_secret(40) - seed)
    z = lengths_N + low.byteswap() + high + _folded_product(low, high)
    return _avalanche(z, 37, 32, 0x165667919E3779F9)


def _turn(z: np.ndarray, bits: int) -> np.ndarray:
    return (z << np.uint64(bits)) | (z >> np.uint64(64 - bits))


def _folded_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The upper half of the 128-bit product, xor its lower half."""
    a0, a1, b0, b1 = a & _MASK32, a >> np.uint64(32), b & _MASK32, b >> np.uint64(32)
    low, cross = a0 * b0, a1 * b0
    middle = (low >> np.uint64(32)) + (cross & _MASK32) + a0 * b1
    return np.asarray(((cross >> np.uint64(32)) + (middle >> np.uint64(32)) + a1 * b1) ^ (a * b))
