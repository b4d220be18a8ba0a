"""A log too large for memory, as shuffled batches.

Parquet files are read and encoded once, in pieces, and kept as arrays. A part is one row group of
one file. Memory holds about two windows of rows, whatever the size of the log; the order of rows
depends on the seed alone, not on what was kept from an earlier reading.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.digests import digest_of
from headwater.errors import LogError, SchemaError
from headwater.events.blocks import Block
from headwater.events.encoding import encode
from headwater.events.moments import moments_in, readings
from headwater.events.tables import unreadable
from headwater.files import new_folder
from headwater.schema import Categorical, Feature, Timestamp

EPOCH = dt.date(1970, 1, 1)
FORMAT = 2  # raised when the arrays' layout or the encoding changes
# the first window is small, so that training begins at once; each next one is twice as large
FIRST_ROWS = 16_384


@dataclass(frozen=True)
class Rows:
    """Encoded features of N rows (slots as int32) and their labels."""

    block: Block
    labels_NL: np.ndarray

    def __len__(self) -> int:
        return len(self.labels_NL)

    def take(self, rows_N: np.ndarray) -> Rows:
        return Rows(self.block.take(rows_N), self.labels_NL[rows_N])

    def arrays(self) -> list[np.ndarray]:
        block = self.block
        return [
            block.categorical_NC,
            *block.multi_NK,
            block.numeric_NF,
            *block.vectors_ND,
            self.labels_NL,
        ]

    def with_arrays(self, arrays: Sequence[np.ndarray]) -> Rows:
        """The same layout with other rows: the inverse of `arrays`."""
        multi = 1 + len(self.block.multi_NK)
        vectors = arrays[multi + 1 : -1]
        empty = np.zeros((len(arrays[0]), 0), np.int64)
        return Rows(
            Block(arrays[0], tuple(arrays[1:multi]), arrays[multi], tuple(vectors), empty),
            arrays[-1],
        )


@dataclass(frozen=True)
class Part:
    """One row group.

    `place` names where its arrays are kept: a changed file or other features have another place.
    """

    file: str
    group: int
    rows: int
    place: str


class RowStream:
    """The rows of Parquet `files`, encoded.

    `features` are encoded as a log's own, `labels` are float32 (missing: NaN). `kept` is a folder
    for the encoded arrays, or None to encode at every reading. Raises LogError where a file cannot
    be read or lacks a column, SchemaError where a column is not of its declared kind, or is of one
    that a stream cannot give.
    """

    def __init__(
        self,
        files: Sequence[str],
        features: Mapping[str, Feature],
        labels: Sequence[str],
        *,
        kept: Path | None = None,
        zone: str = "UTC",
        window_rows: int = 262_144,
    ) -> None:
        if window_rows < 1:
            raise ValueError(f"window_rows should be at least 1. Received: {window_rows}")
        _expect_streamable(features)
        self.features = dict(features)
        self.labels = list(labels)
        self.kept = kept
        self.zone = ZoneInfo(zone)
        self.window_rows = window_rows
        self.columns = list(dict.fromkeys([*self.features, *self.labels]))
        self.parts = [part for file in files for part in self._parts(file)]

    def __len__(self) -> int:
        return sum(part.rows for part in self.parts)

    def batches(self, batch_rows: int, seed: int | None) -> Iterator[Rows]:
        """Every row once, in batches of `batch_rows` (the last may be smaller).

        Shuffled within windows, or in the log's order without a seed.
        """
        generator = None if seed is None else np.random.default_rng(seed)
        left: list[Rows] = []
        for window in self._windows(generator):
            order = np.arange(len(window))
            if generator is not None:
                order = generator.permutation(len(window))
            carried = sum(map(len, left))
            if carried:
                # rows of the last window that filled no batch come first
                window = _joined([*left, window])
                order = np.concatenate([np.arange(carried), carried + order])
            whole = len(order) - len(order) % batch_rows
            for start in range(0, whole, batch_rows):
                yield window.take(order[start : start + batch_rows])
            left = [window.take(order[whole:])]
        if left and len(left[0]):
            yield left[0]

    def _windows(self, generator: np.random.Generator | None) -> Iterator[Rows]:
        parts = self.parts
        if generator is not None:
            parts = [parts[i] for i in generator.permutation(len(parts))]
        held: list[Rows] = []
        size = min(FIRST_ROWS, self.window_rows)
        for part in parts:
            for piece in self._pieces(part):
                held.append(piece)
                if sum(map(len, held)) >= size:
                    yield _joined(held)
                    held = []
                    size = min(2 * size, self.window_rows)
        if held:
            yield _joined(held)

    def _pieces(self, part: Part) -> Iterator[Rows]:
        """A part's rows in order, at most `FIRST_ROWS` at a time.

        They are read as kept, or encoded and then kept.
        """
        if self.kept is None:
            yield from self._encoded(part)
        elif (place := self.kept / part.place).is_dir():
            yield from self._read(place, part)
        else:
            with new_folder(place) as aside:
                yield from self._written(part, aside)

    def _written(self, part: Part, folder: Path) -> Iterator[Rows]:
        files: list[IO[bytes]] = []
        try:
            for piece in self._encoded(part):
                for i, array in enumerate(piece.arrays()):
                    if len(files) <= i:
                        files.append((folder / f"{i}.npy").open("wb"))
                        header = {
                            "descr": array.dtype.str,
                            "fortran_order": False,
                            "shape": (part.rows, *array.shape[1:]),
                        }
                        np.lib.format.write_array_header_1_0(files[i], header)
                    files[i].write(np.ascontiguousarray(array).data)
                yield piece
        finally:
            for file in files:
                file.close()

    def _read(self, place: Path, part: Part) -> Iterator[Rows]:
        layout = self._layout()
        files = [place / f"{i}.npy" for i in range(len(layout.arrays()))]
        for start in range(0, part.rows, FIRST_ROWS):
            rows = min(FIRST_ROWS, part.rows - start)
            yield layout.with_arrays([_read_rows(file, start, rows) for file in files])

    def _encoded(self, part: Part) -> Iterator[Rows]:
        try:
            with pq.ParquetFile(part.file) as opened:
                # not in threads: they would take the processor from the batch that is being learnt
                for batch in opened.iter_batches(
                    FIRST_ROWS, row_groups=[part.group], columns=self.columns, use_threads=False
                ):
                    yield self._encode(pl.DataFrame(pa.Table.from_batches([batch])), part.file)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(part.file, "stream", error) from error

    def _encode(self, frame: pl.DataFrame, file: str) -> Rows:
        whenever = np.full(len(frame), np.iinfo(np.int64).max)
        block = encode(frame, self.features, file, self.zone.key).read_moments(
            moments_in(self.features), True, EPOCH, whenever, self.zone
        )
        try:
            labels = [
                frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
                for name in self.labels
            ]
        except pl.exceptions.PolarsError as error:
            raise SchemaError(
                f"{file}: labels that are not numbers:", [str(error).splitlines()[0]]
            ) from error
        block = replace(
            block,
            categorical_NC=block.categorical_NC.astype(np.int32),
            multi_NK=tuple(m.astype(np.int32) for m in block.multi_NK),
        )
        labels_NL = np.stack(labels, axis=1) if labels else np.zeros((len(frame), 0), np.float32)
        return Rows(block, labels_NL)

    def _layout(self) -> Rows:
        """No rows, of the shapes and types that the stream's rows have."""
        file = self.parts[0].file
        nothing = pq.read_schema(file).empty_table().select(self.columns)
        return self._encode(pl.DataFrame(nothing), file)

    def _parts(self, file: str) -> list[Part]:
        try:
            with pq.ParquetFile(file) as opened:
                meta, names = opened.metadata, opened.schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file, "stream", error) from error
        missing = [name for name in self.columns if name not in names]
        if missing:
            raise LogError(
                f"stream: {file} has no column {', '.join(map(repr, missing))}. It has:"
                f" {', '.join(names)}. Correct the name in factory.yaml, or the file."
            )
        stat = Path(file).stat()
        declared = {name: kind.model_dump(mode="json") for name, kind in self.features.items()}
        digest = digest_of(
            FORMAT,
            str(Path(file).resolve()),
            stat.st_size,
            stat.st_mtime_ns,
            declared,
            list(declared),
            self.labels,
            self.zone.key,
        )
        return [
            Part(file, i, meta.row_group(i).num_rows, f"{digest}-{i}")
            for i in range(meta.num_row_groups)
            if meta.row_group(i).num_rows
        ]


def _expect_streamable(features: Mapping[str, Feature]) -> None:
    """Raise SchemaError where a feature is of a kind that a stream cannot give."""
    hashed = [
        name
        for name, kind in features.items()
        if isinstance(kind, Categorical) and kind.vocabulary is not None
    ]
    if hashed:
        raise SchemaError(
            f"stream: {', '.join(hashed)} should be hashed or have values; a vocabulary is"
            " learnt by the models of a factory."
        )
    relative = [
        name
        for name, kind in features.items()
        if isinstance(kind, Timestamp) and readings(kind, True) != ("cycles",)
    ]
    if relative:
        raise SchemaError(
            f"stream: {', '.join(relative)} should be read as cycles; age and recency are those"
            " of an event, and a stream knows of none."
        )


def _read_rows(npy: Path, start: int, rows: int) -> np.ndarray:
    """Some rows of an array on disk, as a copy.

    So only they, and not pages of the whole file, are this process's memory.
    """
    with npy.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        width = int(np.prod(shape[1:]))
        file.seek(start * width * dtype.itemsize, 1)
        return np.fromfile(file, dtype, rows * width).reshape(rows, *shape[1:])


def _joined(pieces: Sequence[Rows]) -> Rows:
    if len(pieces) == 1:
        return pieces[0]
    together = zip(*(piece.arrays() for piece in pieces), strict=True)
    return pieces[0].with_arrays([np.concatenate(arrays) for arrays in together])
