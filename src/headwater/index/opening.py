"""Indexes by their kind, and on disk: an index is named by its snapshot's digest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from headwater.embeddings import Space
from headwater.errors import SearchError
from headwater.index.base import Index
from headwater.index.exact import ExactIndex
from headwater.index.hnsw import HnswIndex
from headwater.plugins import resolve

INDEXES: dict[str, type[Index]] = {"exact": ExactIndex, "hnsw": HnswIndex}


def open_index(
    root: Path, digest: str, space: Space, rows: int, vectors: Callable[[], np.ndarray], kind: str
) -> Index:
    """The index of the snapshot `digest`, read from `root/DIGEST-KIND`.

    Where it is not there yet, it is built from its `vectors()` [rows, D] and saved. Raises
    SearchError where the file cannot be read, or is of other rows.
    """
    cls: type[Index] = resolve("headwater.index", INDEXES, kind)
    folder = index_folder(root, digest, kind)
    file = folder / "index.faiss"
    if not file.is_file():
        cls.build(space, vectors()).save(folder)
    try:
        handle = faiss.read_index(str(file))
    except RuntimeError as error:
        raise SearchError(
            f"{file}: cannot be read. Remove {folder}; it is built again at the next search."
        ) from error
    if handle.ntotal != rows:
        raise SearchError(
            f"{file}: holds {handle.ntotal:,} vectors, the snapshot {rows:,}. Remove {folder}."
        )
    return cls(space, handle)


def index_folder(root: Path, digest: str, kind: str) -> Path:
    return root / f"{digest}-{kind}"
