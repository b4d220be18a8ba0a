"""What serving in fewer bytes costs: float16 and int8 copies beside float32, on a factory that was
run.

    python -m benchmarks.encodings FACTORY.YAML

For each encoding: bytes a vector, the relative error of a served vector, the share of ten nearest
neighbours kept, and the lift of the CTR ranker that trains and predicts on what is served
(backtested day by day from the daily snapshots; no upstream is trained).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from headwater.backtests.backtest import Backtest, backtest
from headwater.cli.terminal import out, plain_table
from headwater.console import Console
from headwater.embeddings import Snapshot
from headwater.embeddings.gates.figures import neighbour_overlap
from headwater.embeddings.serving import ENCODINGS, Encoding
from headwater.evaluation import Judged
from headwater.pipeline.run import Run
from headwater.store import Edition
from headwater.studies.comparison import Lifts
from headwater.workspace import Workspace


def served_as(run: Run, encoding: str) -> Run:
    """The run of the same factory, whose vectors are served in that encoding."""
    config = run.workspace.config
    store = config.store.model_copy(update={"encoding": encoding})
    other = config.model_copy(update={"store": store})
    return replace(run, workspace=Workspace.of(other, run.workspace.root))


def judged_by_encoding(run: Run) -> Judged:
    """The same rows as the CTR ranker judges them that reads nothing, and those that read what each
    encoding serves.
    """
    spec = run.workspace.config.downstream["ctr"]
    asked = {name: (served_as(run, name), "all") for name in ENCODINGS}
    asked["none"] = (run, "none")
    scores = {}
    for name, (served, variant) in asked.items():
        found = backtest(served, "encodings", "ctr", {name: Backtest(spec, (variant,))})
        judged = found[name].judged
        scores[name] = judged.scores[variant]
    return replace(judged, scores=scores)


def fidelity(edition: Edition, encoding: Encoding) -> tuple[float, float]:
    """The mean relative error of a served vector, and the share of ten nearest neighbours kept."""
    errors, overlaps = [], []
    for part in edition.snapshots:
        true = edition.sample(part, 20_000)
        served_ND = np.array(encoding.as_served(true.vectors_ND))
        lengths_N = np.maximum(np.linalg.norm(true.vectors_ND, axis=1), 1e-12)
        errors.append(np.linalg.norm(served_ND - true.vectors_ND, axis=1) / lengths_N)
        other = Snapshot(
            true.space,
            true.entity,
            true.day,
            np.array(true.keys_N),
            served_ND,
            np.array(true.seen_N),
            true.ids,
        )
        overlaps.append(neighbour_overlap(true, other, 10, 0))
    return float(np.concatenate(errors).mean()), float(np.mean(overlaps))


def show(workspace: Workspace, judged: Judged) -> None:
    span = workspace.config.evaluation
    lifts = Lifts.of(judged, span).against("none")
    against = Lifts.of(judged, span, baseline="float32").against("float32")
    edition = workspace.edition(workspace.days_done()[-1])
    table = plain_table(
        "encoding",
        "bytes",
        "relative error",
        "neighbours kept",
        "lift %",
        "against float32 %",
        title=f"serving copies, {edition.day}",
    )
    width = edition.space(list(edition.snapshots)[-1]).width
    for name, encoding in ENCODINGS.items():
        error, kept = fidelity(edition, encoding)
        lift, over = lifts[name], against[name]
        table.add_row(
            name,
            str(encoding.encode(np.zeros((1, width), np.float32)).shape[1]),
            f"{error:.1e}",
            f"{kept:.4f}",
            f"{lift.roc_auc_lift_pct:+.3f} ({lift.low:+.3f}, {lift.high:+.3f})",
            f"{over.roc_auc_lift_pct:+.4f} ({over.low:+.4f}, {over.high:+.4f})",
        )
    out.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("factory", type=Path)
    run = Run.of(Workspace.load(parser.parse_args().factory), Console())
    try:
        judged = judged_by_encoding(run)
    finally:
        run.close()
    show(run.workspace, judged)


if __name__ == "__main__":
    main()
