"""One step of one library's merge in this process: prints {"peer", "step", "seconds",
"cpu_seconds", "peak_rss_mb"} as JSON.

    python -m benchmarks.peers.data ROOT --rows 1000000 --fresh 300000
    python -m benchmarks.peers.measure PEER ROOT --step prepare
    python -m benchmarks.peers.measure PEER ROOT [--memory-limit 4GB] [--cold]      the merge
    python -m benchmarks.peers.measure PEER ROOT --step check      against NumPy: small sizes

ROOT holds what `data` made; each peer works in ROOT/PEER. Imports are not in `seconds`, but what
they hold is in `peak_rss_mb`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path

from benchmarks.peers.data import load
from benchmarks.peers.merging import PEERS, check, peer, reference, sync_tree


def peak_rss_mb() -> float:
    """Of this program alone. Linux's ru_maxrss starts from the peak of the process that spawned it,
    so /proc is asked first.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return (
            int(
                next(
                    line for line in status.read_text().splitlines() if line.startswith("VmHWM")
                ).split()[1]
            )
            / 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def forget(folder: Path) -> None:
    """Drop the files of `folder` from the page cache: they are on the disk already."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("root", type=Path)
    parser.add_argument("--step", choices=("prepare", "merge", "check"), default="merge")
    parser.add_argument("--memory-limit", default="")
    parser.add_argument(
        "--cold", action="store_true", help="start with the inputs out of the page cache"
    )
    options = parser.parse_args()
    merge, folder = peer(options.peer, options.memory_limit), options.root / options.peer
    if options.step == "merge":
        merge.rewind(folder)
        sync_tree(folder)
        if options.cold:
            forget(folder / "in")
    started, used = time.perf_counter(), cpu_seconds()
    if options.step == "prepare":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        merge.prepare(folder, *load(options.root))
        sync_tree(folder)
    elif options.step == "merge":
        merge.merge(folder)
    else:
        check(merge.read_back(folder), reference(*load(options.root)))
    measured = {
        "seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(cpu_seconds() - used, 3),
        "peak_rss_mb": round(peak_rss_mb()),
    }
    print(json.dumps({"peer": options.peer, "step": options.step, **measured}))


if __name__ == "__main__":
    main()
