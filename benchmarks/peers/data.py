"""Yesterday's published table and today's fresh rows, as npy files, written part by part: memory
does not grow with the rows.

    python -m benchmarks.peers.data ROOT [--rows 1000000] [--fresh 300000] [--width 64] [--seed 0]

before.{keys,vectors,seen}.npy, today.{keys,vectors}.npy: keys ascending, unique, uniform over all
of uint64; 0.9 of the fresh rows are of known keys. `seen` is a day number. A known entity was seen
yesterday with probability about 0.2, and about one in 300 expires today.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TODAY = 20_089  # days since 1970-01-01
EXPIRE_DAYS = 90
PART_ROWS = 1 << 18


@dataclass(frozen=True)
class Rows:
    """N rows, keys ascending. `seen_N` is None for today's fresh rows: all of them were seen
    today.
    """

    keys_N: np.ndarray
    vectors_ND: np.ndarray
    seen_N: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys_N)

    @property
    def width(self) -> int:
        return self.vectors_ND.shape[1]

    def parts(self, rows: int = PART_ROWS) -> Iterator[Rows]:
        for start in range(0, len(self), rows):
            part = slice(start, start + rows)
            yield Rows(
                *(
                    None if column is None else np.ascontiguousarray(column[part])
                    for column in (self.keys_N, self.vectors_ND, self.seen_N)
                )
            )


class NpyWriter:
    """An npy file of known shape, written front to back. A written memmap would count as this
    process's memory.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.file = path.open("wb")
        np.lib.format.write_array_header_1_0(
            self.file, {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
        )

    def write(self, array: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(array, self.dtype).data)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def make(root: Path, rows: int, fresh: int, width: int = 64, seed: int = 0) -> None:
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    new = fresh - round(0.9 * fresh)
    known = fresh - new
    if known > rows:
        raise ValueError(
            f"0.9 of the fresh rows should be of known keys. Received: rows={rows}, fresh={fresh}"
        )
    parts = -(-(rows + new) // PART_ROWS)
    # Of each part of the key range: how many rows are only of yesterday, of both days, only of
    # today.
    counts_P3 = np.stack(
        [generator.multinomial(n, np.full(parts, 1 / parts)) for n in (rows - known, known, new)],
        axis=1,
    )
    with ExitStack() as files:

        def column(name: str, shape: tuple[int, ...], dtype: str) -> NpyWriter:
            return files.enter_context(NpyWriter(root / f"{name}.npy", shape, dtype))

        before_keys, before_seen = (
            column("before.keys", (rows,), "<u8"),
            column("before.seen", (rows,), "<i4"),
        )
        before_vectors = column("before.vectors", (rows, width), "<f4")
        today_keys, today_vectors = (
            column("today.keys", (fresh,), "<u8"),
            column("today.vectors", (fresh, width), "<f4"),
        )
        for part, counts_3 in enumerate(counts_P3):
            low, high = part * 2**64 // parts, (part + 1) * 2**64 // parts - 1
            keys = unique_keys(generator, low, high, int(counts_3.sum()))
            role = generator.permutation(np.repeat([0, 1, 2], counts_3))
            of_before, of_today = keys[role <= 1], keys[role >= 1]
            before_keys.write(of_before)
            before_seen.write(last_seen(generator, len(of_before)))
            before_vectors.write(
                generator.standard_normal((len(of_before), width), dtype=np.float32)
            )
            today_keys.write(of_today)
            today_vectors.write(generator.standard_normal((len(of_today), width), dtype=np.float32))
    (root / "data.json").write_text(
        json.dumps({"rows": rows, "fresh": fresh, "width": width, "seed": seed})
    )


def unique_keys(generator: np.random.Generator, low: int, high: int, count: int) -> np.ndarray:
    keys = np.empty(0, np.uint64)
    while len(keys) < count:
        more = generator.integers(low, high, count - len(keys), dtype=np.uint64, endpoint=True)
        keys = np.unique(np.concatenate([keys, more]))
    return keys


def last_seen(generator: np.random.Generator, count: int) -> np.ndarray:
    """Yesterday's table holds what was seen in the 91 days up to yesterday: most of it lately, the
    rest on any of them.
    """
    lately = np.minimum(generator.geometric(0.3, count) - 1, EXPIRE_DAYS)
    ages = np.where(
        generator.random(count) < 0.3, generator.integers(0, EXPIRE_DAYS + 1, count), lately
    )
    return (TODAY - 1 - ages).astype(np.int32)


def load(root: Path) -> tuple[Rows, Rows]:
    """Yesterday's rows and today's, mapped, not read."""

    def of(name: str) -> np.ndarray:
        return np.load(root / f"{name}.npy", mmap_mode="r")

    return Rows(of("before.keys"), of("before.vectors"), of("before.seen")), Rows(
        of("today.keys"), of("today.vectors")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--fresh", type=int, default=300_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    make(options.root, options.rows, options.fresh, options.width, options.seed)


if __name__ == "__main__":
    main()
