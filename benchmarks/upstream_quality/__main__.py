"""What our upstream predicts by itself against click models of other libraries: KuaiRand clicks,
the same rows and features for all.

    python -m benchmarks.upstream_quality [--data DIR] [--seeds 3] [--tune] [--only NAME ...]

Settings are chosen on 2022-05-07 by models that learnt 04-25 to 05-06, as many trials for each
contender (`--tune` does it anew and rewrites settings.json); then every contender learns up to
05-07 and is judged once on 05-08. Two processes of one thread. Seconds are of one core.
Differences: ROC-AUC of ours minus theirs, paired 95 % interval over users, items and seeds.
DIR (or HEADWATER_DATA) holds kuairand/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.upstream_peers.environments import HOME, NotInstalled, interpreter
from benchmarks.upstream_quality.arrays import TEST, VALIDATE, prepare
from headwater.evaluation import Judged
from headwater.evaluation.influence import roc_auc
from headwater.evaluation.lift import Comparison
from headwater.evaluation.metrics import metrics_of

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = Path(__file__).with_name("settings.json")
OURS, PROCESSES = "headwater upstream", 2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("HEADWATER_DATA"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="contenders by name (see settings.json)"
    )
    options = parser.parse_args()
    data = Path(options.data or "data")
    if not (data / "kuairand" / "interactions.parquet").is_file():
        sys.exit(
            f"KuaiRand is absent: {data / 'kuairand'} holds no interactions.parquet. Set"
            " HEADWATER_DATA or --data to the folder above it."
        )
    settings = json.loads(SETTINGS.read_text())
    names = [name for name in settings if not options.only or name in options.only or name == OURS]
    pythons = ready(settings, names)
    folder = HOME / "upstream_quality"
    prepare(data / "kuairand", folder)
    if options.tune:
        tune(settings, pythons, folder, data)
    for name in [name for name in pythons if settings[name]["chosen"] is None]:
        print(f"{name}: left out, its settings were never tuned (--tune)")
        del pythons[name]
    judge(settings, pythons, folder, data, options.seeds)


def ready(settings: Mapping[str, Any], names: Sequence[str]) -> dict[str, Path]:
    """The interpreter of each contender; those that cannot be installed are named and left out."""
    found = {}
    for name in names:
        library = settings[name]["environment"]
        try:
            found[name] = interpreter(library) if library else Path(sys.executable)
        except NotInstalled as reason:
            print(f"{name}: left out, not installed: {reason}")
    return found


def run(
    python: Path,
    spec: Mapping[str, Any],
    setting: Mapping[str, Any],
    seeds: Sequence[int],
    last: int,
    folder: Path,
    data: Path,
) -> dict[str, np.ndarray]:
    """Scores, [S, N], of the day after the ordinal `last`, and seconds, [S]."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "scores.npz"
        command = [
            python,
            "-m",
            f"benchmarks.upstream_quality.{spec['driver']}",
            folder,
            spec["model"],
            json.dumps(setting),
            ",".join(map(str, seeds)),
            str(last),
            str(last + 1),
            out,
        ]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ
            | {
                "PYTHONPATH": paths,
                "OMP_NUM_THREADS": "1",
                "HEADWATER_DATA": str(data.resolve()),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(
                f"{spec['driver']} {spec['model']} {dict(setting)} failed:\n{done.stderr[-2000:]}"
            )
        return dict(np.load(out))


def tune(settings: dict[str, Any], pythons: Mapping[str, Path], folder: Path, data: Path) -> None:
    """Every trial of every contender's grid once, seed 0; the best on the day of validation is
    written down as chosen.
    """
    labels = labels_of(folder, VALIDATE.toordinal())
    trials = [(name, place) for name in pythons for place in range(len(settings[name]["grid"]))]

    def one(trial: tuple[str, int]) -> float:
        name, place = trial
        found = run(
            pythons[name],
            settings[name],
            setting_of(settings[name], place),
            [0],
            VALIDATE.toordinal() - 1,
            folder,
            data,
        )
        auc = float(roc_auc_score(labels, found["scores"][0]))
        print(
            f"{name:24} {json.dumps(settings[name]['grid'][place]):90} validation ROC-AUC"
            f" {auc:.4f}",
            flush=True,
        )
        return auc

    with ThreadPoolExecutor(PROCESSES) as pool:
        aucs = dict(zip(trials, pool.map(one, trials), strict=True))
    for name in pythons:
        mine = [aucs[name, place] for place in range(len(settings[name]["grid"]))]
        settings[name] |= {
            "validation": [round(auc, 5) for auc in mine],
            "chosen": int(np.argmax(mine)),
        }
    SETTINGS.write_text(rendered(settings))


def rendered(settings: Mapping[str, Any]) -> str:
    """A line per trial."""
    lines = []
    for name, spec in settings.items():
        rows = [f'    "{key}": {json.dumps(value)}' for key, value in spec.items() if key != "grid"]
        grid = ",\n".join(f"      {json.dumps(trial)}" for trial in spec["grid"])
        lines.append(
            f'  "{name}": {{\n' + ",\n".join([*rows, f'    "grid": [\n{grid}\n    ]']) + "\n  }"
        )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def setting_of(spec: Mapping[str, Any], place: int) -> dict[str, Any]:
    return {**spec.get("always", {}), **spec["grid"][place]}


def labels_of(folder: Path, day: int) -> np.ndarray:
    return np.asarray(
        np.load(folder / "arrays" / "label_N.npy")[np.load(folder / "arrays" / "day_N.npy") == day]
    )


def judge(
    settings: Mapping[str, Any], pythons: Mapping[str, Path], folder: Path, data: Path, seeds: int
) -> None:
    """Learn up to the day before the test with the chosen settings and print the table."""

    def one(name: str) -> dict[str, np.ndarray]:
        chosen = setting_of(settings[name], settings[name]["chosen"])
        return run(
            pythons[name], settings[name], chosen, range(seeds), TEST.toordinal() - 1, folder, data
        )

    slowest_first = sorted(pythons, key=lambda name: -settings[name].get("seconds", 0))
    with ThreadPoolExecutor(PROCESSES) as pool:
        found = dict(zip(slowest_first, pool.map(one, slowest_first), strict=True))
    day = TEST.toordinal()
    of_day = np.load(folder / "arrays" / "day_N.npy") == day
    users = np.load(folder / "arrays" / "user_N.npy")[of_day]
    items = np.load(folder / "arrays" / "sparse_NC.npy")[of_day, 1]
    labels = labels_of(folder, day)
    scores = {name: dict(enumerate(found[name]["scores"])) for name in pythons}
    compared = Comparison(Judged(labels, users, np.full(len(labels), day), scores, items))
    print(f"\n{len(labels):,} rows of {len(np.unique(users)):,} users on {TEST}, {seeds} seeds\n")
    print(
        f"{'contender':24}{'validation':>11}{'test':>8}{'log loss':>10}{'seconds':>9}   ours minus"
        " theirs, 95 % interval"
    )
    means = {
        name: np.mean(
            [
                [m.roc_auc, m.log_loss]
                for m in (metrics_of(labels, s) for s in scores[name].values())
            ],
            axis=0,
        )
        for name in scores
    }
    for name, (auc, loss) in sorted(means.items(), key=lambda pair: -pair[1][0]):
        spec = settings[name]
        validated, seconds = spec["validation"][spec["chosen"]], found[name]["seconds"].mean()
        line = f"{name:24}{validated:11.4f}{auc:8.4f}{loss:10.4f}{seconds:9.0f}"
        if name != OURS:
            less = compared.difference(OURS, name, roc_auc, 0.95)
            line += f"   {less.value:+.4f} [{less.low:+.4f}, {less.high:+.4f}]"
        print(line)


if __name__ == "__main__":
    main()
