"""Encoded examples on disk: each day's features are encoded once, and a day that is larger than
memory is read in pieces.

    cache/LOG/DAY/KEY/manifest.json  times.npy  keys.user.npy  entities.item.categorical.npy ...

A cached day is known by what it was made from: the declared data, and every file's path, size and
time of change.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headwater.digests import digest_of
from headwater.events.blocks import Block
from headwater.events.examples import Examples
from headwater.events.histories import Histories
from headwater.files import new_folder, read_json, write_json

FORMAT = 2
MANIFEST = "manifest.json"
MAPPED_ROWS = 1 << 20  # a day of more rows is not taken into memory, but mapped


class Mapped(np.memmap[Any, Any]):
    """An array on disk. Sent to another process it is its path; what is picked out of it is an
    array in memory.
    """

    path: Path | None = None

    def __array_finalize__(self, obj: Any) -> None:
        super().__array_finalize__(obj)
        self.path = None

    def __reduce__(self) -> Any:
        return (map_array, (self.path,)) if self.path is not None else np.asarray(self).__reduce__()


def map_array(path: Path) -> np.ndarray:
    """An array on disk, mapped; one without numbers is in memory."""
    plain = np.load(path, mmap_mode="r")
    if plain.size == 0:
        return np.load(path)
    mapped = plain.view(Mapped)
    mapped.path = path
    return mapped


class ExampleCache:
    """The encoded days in a folder. `made_from` tells of everything but a log's own rows: the
    declared data, and who was erased.
    """

    def __init__(self, folder: Path, made_from: object, files: Callable[[], Iterable[str]]) -> None:
        """`files` names those that examples are read from, as they are now."""
        self.folder, self._made_from, self._files = folder, made_from, files

    def place(self, log: str, day: dt.date, tasks: tuple[str, ...], matured: bool) -> Path:
        """Where the day's examples with the labels of `tasks` lie, once they are encoded from the
        data as it is now. Ask before the data is read: what is written meanwhile makes another.
        """
        stats = [
            (file, (stat := os.stat(file)).st_size, stat.st_mtime_ns, stat.st_ino)
            for file in self._files()
        ]
        return (
            self.folder
            / log
            / str(day)
            / digest_of(FORMAT, self._made_from, stats, tasks, matured)[:24]
        )

    def has(self, place: Path) -> bool:
        """Whether a day was encoded before from the same data."""
        return (place / MANIFEST).is_file()

    def keep(self, place: Path, parts: Iterable[Examples], rows: int) -> None:
        """Keep a day, encoded part after part."""
        parts = iter(parts)
        first = next(parts)
        with new_folder(place) as aside:
            write_examples(aside, first, parts, rows)

    def beside(self, day: dt.date, name: str) -> Path:
        """Where something else of a day is kept: it is written again whenever it is asked for, and
        goes with the day.
        """
        return self.folder / "beside" / str(day) / name

    def forget(self, before: dt.date) -> None:
        """Let the days before one go."""
        for folder in self.folder.glob("*/*"):
            if folder.name < str(before):
                shutil.rmtree(folder, ignore_errors=True)


def write_examples(folder: Path, first: Examples, others: Iterator[Examples], rows: int) -> None:
    """Examples of `rows` rows, given in parts in order, one array a file."""
    arrays, out = arrays_of(first), dict[str, "np.memmap[Any, Any]"]()
    for name, array in arrays.items():
        shape = (rows, *array.shape[1:])
        if 0 in shape:  # nothing can be mapped there
            np.save(folder / f"{name}.npy", np.zeros(shape, array.dtype))
        else:
            out[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, shape)
    low = 0
    for part in itertools.chain([first], others):
        made = arrays_of(part)
        for name, target in out.items():
            target[low : low + len(part)] = made[name]
        low += len(part)
    assert low == rows, (low, rows)
    for target in out.values():
        target.flush()
    write_json(
        folder / MANIFEST,
        {
            "log": first.log,
            "day": str(first.day),
            "rows": rows,
            "rejected": dict(first.rejected),
            "arrays": list(arrays),
        },
    )


def open_examples(folder: Path) -> Examples:
    """As they were written; mapped where they are many."""
    raw = read_json(folder / MANIFEST)
    load = map_array if raw["rows"] > MAPPED_ROWS else np.load
    arrays = {name: load(folder / f"{name}.npy") for name in raw["arrays"]}
    blocks, histories = rows_of_arrays(arrays)
    return Examples(
        raw["log"],
        dt.date.fromisoformat(raw["day"]),
        arrays["times"],
        {name: arrays[f"keys.{name}"] for name in _names(arrays, "keys.")},
        {name: block for name, block in blocks.items() if name != "context"},
        blocks["context"],
        histories,
        {name: arrays[f"counters.{name}"] for name in _names(arrays, "counters.")},
        {name: arrays[f"label.{name}"] for name in _names(arrays, "label.")},
        raw["rejected"],
    )


def arrays_of(examples: Examples) -> dict[str, np.ndarray]:
    """All arrays of some examples, by a name from which they can be put together again."""
    found = {"times": examples.times_us_N} | {
        f"keys.{name}": keys for name, keys in examples.keys.items()
    }
    blocks = {**examples.entities, "context": examples.context}
    found |= rows_as_arrays(blocks, examples.histories)
    found |= {f"counters.{name}": counts for name, counts in examples.counters.items()}
    return found | {f"label.{name}": labels for name, labels in examples.labels.items()}


def rows_as_arrays(
    blocks: Mapping[str, Block], histories: Mapping[str, Histories]
) -> dict[str, np.ndarray]:
    """Features and histories of some rows as arrays, by a name from which they can be put together
    again.
    """
    found: dict[str, np.ndarray] = {}
    for name, block in blocks.items():
        found |= {
            f"block.{name}.categorical": block.categorical_NC,
            f"block.{name}.numeric": block.numeric_NF,
            f"block.{name}.moments": block.moments_NT,
        }
        for kind, several in (("multi", block.multi_NK), ("vector", block.vectors_ND)):
            found |= {f"block.{name}.{kind}{place}": one for place, one in enumerate(several)}
    for name, past in histories.items():
        found |= {
            f"history.{name}.keys": past.keys_NL,
            f"history.{name}.actions": past.actions_NL,
            f"history.{name}.gaps": past.gaps_s_NL,
        }
    return found


def rows_of_arrays(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Block], dict[str, Histories]]:
    """The inverse of `rows_as_arrays`; other arrays are passed over."""
    blocks = {name: _block(arrays, name) for name in _names(arrays, "block.")}
    parts = ("keys", "actions", "gaps")
    histories = {
        name: Histories(*(arrays[f"history.{name}.{part}"] for part in parts))
        for name in _names(arrays, "history.")
    }
    return blocks, histories


def _names(arrays: Mapping[str, np.ndarray], prefix: str) -> list[str]:
    """The entities, histories, scopes or tasks that arrays are named after, in order."""
    return list(
        dict.fromkeys(
            name.removeprefix(prefix).split(".")[0] for name in arrays if name.startswith(prefix)
        )
    )


def _block(arrays: Mapping[str, np.ndarray], name: str) -> Block:
    of = {
        key.removeprefix(f"block.{name}."): array
        for key, array in arrays.items()
        if key.startswith(f"block.{name}.")
    }
    several = {
        kind: tuple(
            of[f"{kind}{place}"] for place in range(sum(key.startswith(kind) for key in of))
        )
        for kind in ("multi", "vector")
    }
    return Block(
        of["categorical"], several["multi"], of["numeric"], several["vector"], of["moments"]
    )
