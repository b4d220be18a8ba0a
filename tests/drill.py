"""Crash drills, in a process of their own: operations are killed, or the disk fills, at random
moments; then readers and the next run are asked.

    python tests/drill.py FOLDER OPERATION kill|disk TRIALS SEED

A fresh fork does each step, so that nothing survives but what lies on disk. Prints one JSON line;
exit 1 where a promise was broken.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from at import catalog_at, edition_at
from headwater.errors import HeadwaterError
from headwater.files import sweep_leftovers
from headwater.lifecycle import compact_where_due, erase, finish_erasures, promote, retire, rollback
from headwater.store import MAIN
from shop import Shop, after, vectors_of

os.fsync = lambda handle: None  # type: ignore[assignment]  # a killed process loses nothing that it wrote; only a power cut would
USERS = [f"u{n}" for n in range(60)]
ITEMS = [f"i{n}" for n in range(15)]
GONE = "u7"


def shop_of(root: Path) -> Shop:
    return Shop(root, {"kind": "ema", "weight": 0.5}, {"bucket_rows": 16}, keep_days=4)


def publish(shop: Shop, n: int) -> None:
    generator = np.random.default_rng(n)
    some = [user for user in USERS if generator.random() < 0.7]
    shop.publish(
        after(n),
        [
            vectors_of(some, generator.standard_normal((len(some), 4)), after(n)),
            vectors_of(ITEMS, generator.standard_normal((len(ITEMS), 4)), after(n), "item"),
        ],
    )


def prepare(shop: Shop, operation: str) -> None:
    for n in range(6):
        publish(shop, n)
    if operation == "promote":
        rollback(shop.workspace, after(4))


OPERATIONS: dict[str, Callable[[Shop], object]] = {
    "publish": lambda shop: publish(shop, 6),
    "promote": lambda shop: promote(shop.workspace, MAIN, after(5)),
    "rollback": lambda shop: rollback(shop.workspace, after(4)),
    "compact": lambda shop: (
        compact_where_due(shop.workspace, MAIN, always=True),
        retire(shop.workspace),
    ),
    "erase": lambda shop: erase(shop.workspace, "user", [GONE]),
}


def state(shop: Shop, salted: bool = False) -> str:
    """All that a reader can see, as text: every vector of the live edition through the online
    store, and its neighbours.
    """
    known = [
        user
        for user in USERS
        if any(vector is not None for vector in [shop.vector(shop.live, user)])
    ]
    found = {
        "vectors": shop.reader.lookup("user", known).as_json(),
        "near": shop.reader.retrieve(known[0], 5).as_json(),
        "items": shop.reader.lookup("item", ITEMS).as_json(),
    }
    text = json.dumps(found, sort_keys=True)
    if salted:  # a tombstone's salt is random, and so is the digest of an edition that it shaped
        for digest in {found["vectors"]["digest"], found["near"]["digest"]}:
            text = text.replace(digest, "DIGEST")
    return text


def repair(shop: Shop, operation: str) -> None:
    """What the next run does, and the same operation once more."""
    sweep_leftovers(shop.root)
    finish_erasures(shop.workspace)
    done = {
        "publish": catalog_at(shop.root).lane(MAIN).get(after(6)),
        "promote": catalog_at(shop.root).lane(MAIN).get(after(5)),
    }
    if operation == "rollback" and catalog_at(shop.root).live.entry.day == after(4):
        return
    if operation in done and done[operation] is not None:
        retire(shop.workspace)
        return
    OPERATIONS[operation](shop)


def in_a_fork(work: Callable[[], object], limit: int | None = None, told: bool = False) -> int:
    """Start `work` in a fork; returns its process id. Its exit status: 0 done, 3 a refused
    operation (printed where `told`), 4 anything else.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        work()
        os._exit(0)
    except (HeadwaterError, OSError):
        if told:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(3)
    except BaseException:
        traceback.print_exc()
        os._exit(4)


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def must(work: Callable[[], object], what: str) -> None:
    status = status_of(in_a_fork(work, told=True))
    if status != 0:
        raise SystemExit(
            f"{what}: exit status {status} (3: refused, 4: crashed, below 0: a signal)"
        )


def answer_of(work: Callable[[], str], path: Path) -> str:
    if status_of(in_a_fork(lambda: path.write_text(work()))) != 0:
        raise SystemExit(f"a reader failed, see above ({path})")
    return path.read_text()


def everything_readable(shop: Shop) -> None:
    for lane, entry in catalog_at(shop.root).mentioned():
        edition = edition_at(shop.root, entry, lane)
        for name in edition.snapshots:
            edition.read(name)


def main() -> None:
    root, operation, how, trials, seed = (
        Path(sys.argv[1]),
        sys.argv[2],
        sys.argv[3],
        int(sys.argv[4]),
        int(sys.argv[5]),
    )
    moments, salted, notes = random.Random(seed), operation == "erase", root / "note"
    root.mkdir(parents=True, exist_ok=True)
    base, straight = root / "base", root / "straight"
    assert status_of(in_a_fork(lambda: prepare(shop_of(base), operation))) == 0
    before = answer_of(lambda: state(shop_of(base), salted), notes)
    shutil.copytree(base, straight)
    began = time.perf_counter()
    assert status_of(in_a_fork(lambda: OPERATIONS[operation](shop_of(straight)))) == 0
    taken = time.perf_counter() - began
    expected = answer_of(lambda: state(shop_of(straight), salted), notes)
    largest = max(file.stat().st_size for file in straight.rglob("*") if file.is_file())
    counts = {"old": 0, "new": 0, "cut": 0, "whole": 0}
    for trial in range(trials):
        here = root / f"trial-{trial}"
        shutil.copytree(base, here)
        shop = shop_of(here)
        if how == "kill":
            pid = in_a_fork(lambda shop=shop: OPERATIONS[operation](shop))
            time.sleep(moments.uniform(0, 1.05 * taken))
            os.kill(pid, signal.SIGKILL)
            status = status_of(pid)
        else:
            limit = int(math.exp(moments.uniform(math.log(100), math.log(1.05 * largest))))
            status = status_of(in_a_fork(lambda shop=shop: OPERATIONS[operation](shop), limit))
        assert status in (0, 3, -signal.SIGKILL), status
        counts["whole" if status == 0 else "cut"] += 1
        seen = answer_of(lambda shop=shop: state(shop, salted), notes)
        if seen not in (before, expected):
            raise SystemExit(
                f"trial {trial}: a reader saw neither the old edition nor the new"
                f" one:\n{seen[:600]}"
            )
        counts["old" if seen == before else "new"] += 1
        must(
            lambda shop=shop: everything_readable(shop),
            f"trial {trial}: a named edition cannot be read",
        )
        must(lambda shop=shop: repair(shop, operation), f"trial {trial}: the next run failed")
        if answer_of(lambda shop=shop: state(shop, salted), notes) != expected:
            raise SystemExit(f"trial {trial}: the next run did not repair it")
        must(
            lambda shop=shop: everything_readable(shop),
            f"trial {trial}: a named edition cannot be read after the next run",
        )
        left = list(here.rglob(".tmp-*"))
        assert not left, f"trial {trial}: left behind {left}"
        shutil.rmtree(here)
    print(json.dumps({"operation": operation, "how": how, "trials": trials} | counts))


if __name__ == "__main__":
    main()
