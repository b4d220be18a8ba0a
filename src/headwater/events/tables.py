"""Files of a log or an entity table: globs expanded, scanned lazily, their columns checked."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from headwater.errors import LogError

COLUMNAR = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
LINES = (".jsonl", ".ndjson")
COMMAS = (".csv", ".csv.gz", ".csv.zst")
TABS = (".tsv", ".tsv.gz", ".tsv.zst")
KNOWN = (*COLUMNAR, *LINES, *COMMAS, *TABS)


def matching_files(paths: Iterable[str], what: str) -> list[str]:
    """The files that the globs name, sorted.

    A folder stands for all files of a known format below it. What begins with `.` or `_`
    (`_SUCCESS`, a file that is still being written) is passed over unless it is named in full.
    Raises LogError where a path names no file.
    """
    found: dict[str, None] = {}
    if not list(paths := list(paths)):
        raise LogError(f"{what}: no path is given. Name its files in factory.yaml.")
    for path in paths:
        matches = _matches(path)
        if not matches:
            raise LogError(
                f"{what}: no file matches {path}. Check the path in factory.yaml; relative ones"
                " count from the folder it lies in."
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def _matches(path: str) -> list[str]:
    if os.path.isfile(path):  # as it stands: brackets in a name are no pattern
        return [path]
    if os.path.isdir(path):
        below = glob.iglob(os.path.join(glob.escape(path), "**", "*"), recursive=True)
        named = [file for file in below if file.endswith(KNOWN)]
    else:
        named = glob.glob(path, recursive=True)
    return sorted(file for file in named if os.path.isfile(file) and not _hidden(file, path))


def _hidden(file: str, path: str) -> bool:
    """Whether the file, or a folder that the path does not name, begins with `.` or `_`."""
    depth = len(Path(path).parts) if os.path.isdir(path) else 0
    parts = Path(file).parts[depth:] if depth else (os.path.basename(file),)
    return any(part.startswith((".", "_")) for part in parts)


def digests_of_files(paths: Iterable[str], what: str) -> list[str]:
    """Of the bytes of each file that the globs name, in their order. Raises LogError."""
    found = []
    for path in matching_files(paths, what):
        try:
            with open(path, "rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise unreadable(path, what, error) from error
    return found


def scan(file: str, columns: Iterable[str], what: str) -> pl.LazyFrame:
    """A lazy frame of `columns` of one file (CSV cells stay text).

    Raises LogError: unreadable, or a column missing.
    """
    try:
        frame = _open(file, what)
        present = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, what, error) from error
    wanted = list(dict.fromkeys(columns))
    missing = [column for column in wanted if column not in present]
    if missing:
        raise LogError(
            f"{what}: {file} has no column {', '.join(map(repr, missing))}. It has:"
            f" {', '.join(present)}. Correct the name in factory.yaml, or the file."
        )
    return frame.select(wanted)


def _open(file: str, what: str) -> pl.LazyFrame:
    """Any file of a known format, by its ending. Raises LogError."""
    if file.endswith((".parquet", ".pq")):
        return pl.scan_parquet(file, glob=False)
    if file.endswith(COLUMNAR):
        return pl.scan_ipc(file, glob=False)
    if file.endswith(LINES):
        return pl.scan_ndjson(glob.escape(file), infer_schema_length=None)
    if file.endswith((*COMMAS, *TABS)):
        separator = "\t" if file.endswith(TABS) else ","
        return pl.scan_csv(file, glob=False, infer_schema=False, separator=separator)
    raise LogError(
        f"{what}: {Path(file).name} is of no known format. Expected Parquet (.parquet), Arrow IPC"
        " (.arrow, .feather), JSON Lines (.jsonl, .ndjson) or CSV (.csv, .tsv, also .gz, .zst)."
    )


def unreadable(file: str, what: str, error: Exception) -> LogError:
    """What to raise of a file that a reader failed on."""
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return LogError(
        f"{what}: {file} cannot be read; it may be truncated or of another format ({first_line})."
        " Write the file again, or move it away; nothing of it was used."
    )


def collect(frame: pl.LazyFrame, file: str, what: str) -> pl.DataFrame:
    """Run a lazy frame in streaming mode. Raises LogError where the file breaks off."""
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(file, what, error) from error
