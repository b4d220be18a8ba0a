"""Files of a log or an entity table: globs expanded, scanned lazily, their columns checked."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from headwater.errors import LogError


def matching_files(paths: Iterable[str], what: str) -> list[str]:
    """The files that the globs name, sorted. Raises LogError where a glob names none."""
    found: dict[str, None] = {}
    if not list(paths := list(paths)):
        raise LogError(f"{what}: no path is given. Name its files in factory.yaml.")
    for path in paths:
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise LogError(
                f"{what}: no file matches {path}. Check the path in factory.yaml; relative ones"
                " count from the folder it lies in."
            )
        found.update(dict.fromkeys(matches))
    return list(found)


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
        if file.endswith((".parquet", ".pq")):
            frame = pl.scan_parquet(file, glob=False)
        elif file.endswith((".csv", ".csv.gz", ".tsv")):
            separator = "\t" if file.endswith(".tsv") else ","
            frame = pl.scan_csv(file, glob=False, infer_schema=False, separator=separator)
        else:
            raise LogError(
                f"{what}: {Path(file).name} is neither Parquet (.parquet) nor CSV (.csv, .csv.gz,"
                " .tsv)."
            )
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
