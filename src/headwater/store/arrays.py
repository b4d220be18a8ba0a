"""Arrays on disk: .npy files written in pieces, read in ranges, with a digest of what was
written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import xxhash

from headwater.errors import StoreError

_HEADER = 128  # room for any shape, so that it can be written last
_CHUNK = 8 << 20


class NpyWriter:
    """Appends rows to a .npy file whose length is known only at the end. `digest` is XXH3-128 of
    the data.
    """

    def __init__(self, path: Path, dtype: np.dtype | type, *row_shape: int) -> None:
        self.path, self.dtype, self.row_shape, self.rows = path, np.dtype(dtype), row_shape, 0
        self._hash = xxhash.xxh3_128()
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        self._file.write(b"\0" * _HEADER)

    def append(self, values: np.ndarray) -> None:
        if values.dtype != self.dtype or values.shape[1:] != self.row_shape:
            raise StoreError(
                f"{self.path}: rows of {self.dtype} {self.row_shape} are written there. Received:"
                f" {values.dtype} {values.shape[1:]}."
            )
        if len(values) == 0:
            return
        data = memoryview(np.ascontiguousarray(values).data).cast("B")
        self._hash.update(data)
        while len(data):
            data = data[self._file.write(data) :]
        self.rows += len(values)

    def close(self) -> str:
        """Write the header, sync, return the digest."""
        text = repr(
            {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.rows, *self.row_shape),
            }
        ).encode()
        length = _HEADER - 10
        self._file.seek(0)
        self._file.write(
            b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.ljust(length - 1) + b"\n"
        )
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def abandon(self) -> None:
        self._file.close()


def map_array(path: Path, rows: int | None = None) -> np.ndarray:
    """A .npy file, memory-mapped. Raises StoreError where it is damaged or holds another number of
    rows than expected.
    """
    try:
        about = path.stat()
        values = _mapped(str(path), about.st_ino, about.st_size, about.st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, str(error)) from error
    if rows is not None and len(values) != rows:
        raise damaged(path, f"it holds {len(values):,} rows, expected {rows:,}")
    return values


@lru_cache(maxsize=512)
def _mapped(path: str, *_identity: int) -> np.ndarray:
    """Opened once: reading a header takes longer than a look-up. `_identity` tells another file of
    the same name.
    """
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def read_range(
    path: Path, dtype: np.dtype | type, low: int, high: int, *row_shape: int
) -> np.ndarray:
    """Rows [low, high) of a file that NpyWriter wrote, read (not mapped, so that memory stays what
    is asked for). Raises StoreError.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(row_shape, dtype=np.int64))
    try:
        values = np.fromfile(
            path, dtype, (high - low) * size, offset=_HEADER + low * size * dtype.itemsize
        )
    except OSError as error:
        raise damaged(path, str(error)) from error
    if len(values) != (high - low) * size:
        raise damaged(path, f"its rows {low:,} to {high:,} are not all there")
    return values.reshape(high - low, *row_shape)


def digest_on_disk(path: Path) -> str:
    """XXH3-128 of a file's data as it lies on disk. Raises StoreError."""
    digest = xxhash.xxh3_128()
    try:
        with open(path, "rb") as file:
            file.seek(_HEADER)
            while piece := file.read(_CHUNK):
                digest.update(piece)
    except OSError as error:
        raise damaged(path, str(error)) from error
    return digest.hexdigest()


def damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path}: cannot be read ({why}). The edition is damaged; run that day again with"
        " --replace."
    )


def key_ranges(total_rows: int, bucket_rows: int) -> Iterator[tuple[int, int]]:
    """Buckets as half-open ranges of the 64-bit key: a power of two of them, so that each holds
    about `bucket_rows` hashed keys.
    """
    bits = max(0, (max(1, total_rows) - 1) // bucket_rows).bit_length()
    width = 1 << (64 - bits)
    for bucket in range(1 << bits):
        yield bucket * width, (bucket + 1) * width


def rows_in_range(path: Path, rows: int, low: int, high: int) -> tuple[int, int]:
    """The rows of a file of ascending keys that fall into [low, high); nothing of it stays mapped,
    so memory does not grow with the file.
    """
    if rows == 0:
        return 0, 0
    try:
        return rows_between(
            np.memmap(path, np.uint64, "r", _HEADER, (rows,)).view(np.ndarray), low, high
        )
    except (OSError, ValueError) as error:
        raise damaged(path, str(error)) from error


def rows_between(keys_N: np.ndarray, low: int, high: int) -> tuple[int, int]:
    """The rows of ascending keys that fall into [low, high)."""
    first = int(np.searchsorted(keys_N, np.uint64(low)))
    return first, len(keys_N) if high >= 1 << 64 else int(np.searchsorted(keys_N, np.uint64(high)))
