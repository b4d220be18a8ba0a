"""Files that appear whole or not at all: written aside, synced, then renamed into place."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.errors import StoreError

TEMPORARY = ".tmp-"


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace `path` by `data` in one step; a reader sees the old bytes or the new."""
    _expect_no_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    with open(aside, "wb") as handle:
        handle.write(data.encode() if isinstance(data, str) else data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(aside, path)
    sync(path.parent)


def aside_of(path: Path) -> Path:
    """Where this thread writes what becomes `path`."""
    return path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}-{threading.get_ident()}")


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: not a readable JSON file ({error}). Restore it from a backup, or remove the "
            "folder it stands in and run that day again."
        ) from error


def _expect_no_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder; expected the path of a file", str(path))


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path to write to; on success what was written becomes `path` in one rename."""
    _expect_no_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    try:
        yield aside
        sync(aside)
        os.replace(aside, path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; on success it becomes `path` in one rename.

    An older `path` is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        for item in sorted(aside.rglob("*")):
            sync(item)
        sync(aside)
        try:
            os.rename(aside, path)
        except OSError:
            if not path.exists():
                raise
            exchange(aside, path)  # what was there lies aside now, and goes
        sync(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_file(path: Path) -> None:
    """Remove a file; one that is not there is no error."""
    path.unlink(missing_ok=True)


def keep_only(folder: Path, names: tuple[str, ...]) -> None:
    """Remove every folder in a folder but those of some names."""
    for part in folder.iterdir():
        if part.is_dir() and part.name not in names:
            shutil.rmtree(part)


def remove_folder(path: Path) -> None:
    """Remove a folder, out of sight first.

    Killed in the middle, it is gone under its name, and `sweep_leftovers` removes the rest.
    """
    aside = aside_of(path.with_name(f"gone-{path.name}"))
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    shutil.rmtree(aside)


def exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step, so that a reader of either always finds one.

    One step on Linux; elsewhere it takes three renames.
    """
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_cwd, rename_exchange = -100, 2
    if (
        swap is None
        or swap(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), rename_exchange) != 0
    ):
        between = aside_of(other.with_name(f"old-{other.name}"))
        os.rename(other, between)
        os.rename(one, other)
        os.rename(between, one)


def sweep_leftovers(root: Path) -> int:
    """Remove what killed writers left aside, and return how many there were.

    Call only while holding `exclusive(root)`.
    """
    leftovers = [path for path in root.rglob(f"{TEMPORARY}*") if path.exists()]
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return len(leftovers)


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the warehouse's writer lock.

    The kernel frees it when the process ends, however it ends. Raises StoreError where another
    process holds it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / ".writer.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"{root}: another run is writing to this warehouse. Wait for it to end."
            ) from None
        yield
