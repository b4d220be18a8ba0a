"""A segment: rows written once and shared by editions. Sorted by key, so that a bucket (a range of
keys) is a range of rows.

    segments/ctr_user/ID/keys.npy  states.npy  steps.npy  seen.npy  segment.json
    segments/ctr_user/ID/ids.npy (integers) or ids.offsets.npy + ids.text.npy

Shapes: N rows, W numbers a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.errors import StoreError
from headwater.files import new_folder, read_json, write_json
from headwater.store.arrays import NpyWriter, damaged, digest_on_disk, map_array, read_range

MANIFEST = "segment.json"


@dataclass(frozen=True)
class Segment:
    """Where the rows lie; nothing is read until it is asked for."""

    folder: Path
    rows: int
    width: int
    integers: bool
    digests: tuple[tuple[str, str], ...]

    @classmethod
    def open(cls, folder: Path) -> Segment:
        """Raises StoreError."""
        if not Segment.is_there(folder):
            raise StoreError(
                f"{folder}: the segment is gone. The edition is damaged; run that day again with"
                " --replace."
            )
        raw = read_json(folder / MANIFEST)
        try:
            return cls(
                folder,
                raw["rows"],
                raw["width"],
                raw["ids"] == "integers",
                tuple(sorted(raw["digests"].items())),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{folder / MANIFEST}: not a segment's manifest ({error!r})."
            ) from error

    @staticmethod
    def is_there(folder: Path) -> bool:
        """Whether a segment lies in a folder; its arrays are not looked at."""
        return (folder / MANIFEST).is_file()

    @property
    def digest(self) -> str:
        return digest_of(dict(self.digests), self.rows)

    @cached_property
    def keys(self) -> np.ndarray:
        """uint64 [N], ascending, memory-mapped."""
        return map_array(self.folder / "keys.npy", self.rows)

    def keys_between(self, low: int, high: int) -> np.ndarray:
        return read_range(self.folder / "keys.npy", np.uint64, low, high)

    def states(self, low: int, high: int) -> np.ndarray:
        """float32 [high - low, W]."""
        return read_range(self.folder / "states.npy", np.float32, low, high, self.width)

    def steps(self, low: int, high: int) -> np.ndarray:
        return read_range(self.folder / "steps.npy", np.uint8, low, high)

    def seen(self, low: int, high: int) -> np.ndarray:
        """int32: the day (since 1970) on which each row's entity was last seen."""
        return read_range(self.folder / "seen.npy", np.int32, low, high)

    def gather(self, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [M, W] and steps [M] of some rows: by one read where they lie close together, else
        one by one.
        """
        if len(rows_M) == 0:
            return np.zeros((0, self.width), np.float32), np.zeros(0, np.uint8)
        low, high = int(rows_M.min()), int(rows_M.max()) + 1
        if high - low <= 4 * len(rows_M):
            picked = rows_M - low
            states, steps = self.states(low, high), self.steps(low, high)
            return (
                (states, steps)
                if high - low == len(rows_M) and (picked == np.arange(len(picked))).all()
                else (states[picked], steps[picked])
            )
        states = map_array(self.folder / "states.npy", self.rows)
        return np.asarray(states[rows_M]), np.asarray(
            map_array(self.folder / "steps.npy", self.rows)[rows_M]
        )

    def ids(self, low: int, high: int) -> pl.Series:
        """The original ids of a range of rows: Int64 or String."""
        if self.integers:
            return pl.Series("id", read_range(self.folder / "ids.npy", np.int64, low, high))
        if high == low:
            return pl.Series("id", [], dtype=pl.String)
        ends = read_range(self.folder / "ids.offsets.npy", np.int64, max(low - 1, 0), high)
        edges = np.concatenate([[0], ends]) if low == 0 else ends
        text = read_range(
            self.folder / "ids.text.npy", np.uint8, int(edges[0]), int(edges[-1])
        ).tobytes()
        edges = (edges - edges[0]).tolist()
        return pl.Series(
            "id", [text[a:b].decode() for a, b in itertools.pairwise(edges)], dtype=pl.String
        )

    def ids_of(self, rows_M: np.ndarray) -> list[int | str]:
        if len(rows_M) < 64:
            return [self.ids(int(row), int(row) + 1)[0] for row in rows_M]
        low, high = int(rows_M.min()), int(rows_M.max()) + 1
        return self.ids(low, high).gather(rows_M - low).to_list()

    def verify(self) -> None:
        """Read every byte and compare digests. Raises StoreError."""
        for name, digest in self.digests:
            if digest_on_disk(self.folder / name) != digest:
                raise damaged(self.folder / name, "its bytes are not those that were written")


class SegmentWriter:
    """Takes the rows of one bucket after another."""

    def __init__(self, folder: Path, width: int, integers: bool) -> None:
        self.width, self.integers = width, integers
        self._files = {
            "keys.npy": NpyWriter(folder / "keys.npy", np.uint64),
            "states.npy": NpyWriter(folder / "states.npy", np.float32, width),
            "steps.npy": NpyWriter(folder / "steps.npy", np.uint8),
            "seen.npy": NpyWriter(folder / "seen.npy", np.int32),
        }
        names = ("ids.npy",) if integers else ("ids.offsets.npy", "ids.text.npy")
        self._files |= {
            name: NpyWriter(folder / name, np.uint8 if name == "ids.text.npy" else np.int64)
            for name in names
        }

    @property
    def rows(self) -> int:
        return self._files["keys.npy"].rows

    def append(
        self,
        keys_N: np.ndarray,
        states_NW: np.ndarray,
        steps_N: np.ndarray,
        seen_N: np.ndarray,
        ids: pl.Series,
    ) -> None:
        self._files["keys.npy"].append(keys_N)
        self._files["states.npy"].append(states_NW)
        self._files["steps.npy"].append(steps_N)
        self._files["seen.npy"].append(seen_N)
        if self.integers:
            self._files["ids.npy"].append(ids.cast(pl.Int64).to_numpy())
        else:
            text = ids.cast(pl.String)
            lengths = text.str.len_bytes().to_numpy().astype(np.int64)
            self._files["ids.offsets.npy"].append(
                np.cumsum(lengths) + self._files["ids.text.npy"].rows
            )
            self._files["ids.text.npy"].append(np.frombuffer("".join(text).encode(), np.uint8))

    def close(self) -> Mapping[str, object]:
        """The manifest of what was written."""
        rows = self.rows
        return {
            "rows": rows,
            "width": self.width,
            "ids": "integers" if self.integers else "text",
            "digests": {name: file.close() for name, file in self._files.items()},
        }

    def abandon(self) -> None:
        for file in self._files.values():
            file.abandon()


@contextmanager
def new_segment(folder: Path, width: int, integers: bool) -> Iterator[SegmentWriter]:
    """Write a segment that appears at `folder` whole or not at all."""
    with new_folder(folder) as aside:
        writer = SegmentWriter(aside, width, integers)
        try:
            yield writer
            write_json(aside / MANIFEST, writer.close())
        finally:
            writer.abandon()
