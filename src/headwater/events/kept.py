"""Rows, ids and listings of a day on disk, so that a job can carry where they lie instead of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from headwater.events.caching import open_examples, rows_as_arrays, rows_of_arrays
from headwater.events.examples import Examples, Listing
from headwater.files import new_file, new_folder


@dataclass(frozen=True)
class EncodedRows:
    """A day's rows of one log as they are kept in `folder`; of their labels, those of `tasks`."""

    folder: Path
    tasks: tuple[str, ...]

    def open(self) -> Examples:
        found = open_examples(self.folder)
        return replace(found, labels={task: found.labels[task] for task in self.tasks})


def keep_ids(path: Path, keys_N: np.ndarray, ids: pl.Series) -> None:
    """Write down which ids some keys stand for."""
    with new_file(path) as aside:
        pl.DataFrame({"key": keys_N, "id": ids}).write_ipc(aside)


def open_ids(path: Path) -> tuple[np.ndarray, pl.Series]:
    """Keys [N] and the ids that they stand for, as they were kept."""
    frame = pl.read_ipc(path)
    return frame["key"].to_numpy(), frame["id"]


def keep_keys(path: Path, keys_N: np.ndarray) -> None:
    """Write down some keys."""
    with new_file(path) as aside, open(aside, "wb") as file:
        np.save(file, keys_N)


def open_keys(path: Path) -> np.ndarray:
    """Keys [N], as they were kept."""
    return np.load(path)


def keep_listed(folder: Path, listed: Listing) -> None:
    """Write down everyone whom a table lists."""
    arrays = {"block": listed.block}
    with new_folder(folder) as aside:
        keep_ids(aside / "ids.arrow", listed.keys_N, listed.ids)
        for name, array in rows_as_arrays(arrays, listed.histories).items():
            np.save(aside / f"{name}.npy", array)


def open_listed(folder: Path) -> Listing:
    """Everyone whom a table lists, as they were kept."""
    keys, ids = open_ids(folder / "ids.arrow")
    arrays = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
    blocks, histories = rows_of_arrays(arrays)
    return Listing(keys, ids, blocks["block"], histories)
