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

from headwater.backtests.backtest import Backtest, factory_of
from headwater.cli.terminal import out, plain_table
from headwater.config import FactoryConfig
from headwater.console import Console
from headwater.embeddings import Snapshot
from headwater.embeddings.gates import neighbour_overlap
from headwater.embeddings.serving import ENCODINGS
from headwater.evaluation import Judged, lift_table
from headwater.factory import Factory
from headwater.studies.comparison import BOOTSTRAP_SEED


def served_as(factory: Factory, encoding: str) -> Factory:
    store = factory.config.store.model_copy(update={"encoding": encoding})
    config: FactoryConfig = factory.config.model_copy(update={"store": store})
    made = Factory(config, factory.workspace.root, factory.run.console)
    return factory_of(made, "ctr", Backtest(config.downstream["ctr"], ("all",)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("factory", type=Path)
    factory = Factory.load(parser.parse_args().factory, Console())
    days, span = factory.days_done(), factory.config.evaluation
    made = {name: served_as(factory, name) for name in ENCODINGS}
    made["none"] = factory_of(factory, "ctr", Backtest(factory.config.downstream["ctr"], ("none",)))
    scores, judged = {}, None
    for name, one in made.items():
        for day in days:
            one.run_day(day)
        one.close()
        found = one.workspace.predictions.pooled("ctr", span.start, span.end, days)
        judged, scores[name] = found, found.scores["none" if name == "none" else "all"]
    assert isinstance(judged, Judged)
    lifts = {
        row.variant: row
        for row in lift_table(
            replace(judged, scores=scores), span.bootstrap, span.confidence, BOOTSTRAP_SEED
        )
    }
    against = {
        row.variant: row
        for row in lift_table(
            replace(judged, scores=scores),
            span.bootstrap,
            span.confidence,
            BOOTSTRAP_SEED,
            "float32",
        )
    }
    edition = factory.workspace.edition(days[-1])
    table = plain_table(
        "encoding",
        "bytes",
        "relative error",
        "neighbours kept",
        "lift %",
        "against float32 %",
        title=f"serving copies, {days[-1]}",
    )
    for name, encoding in ENCODINGS.items():
        errors, overlaps = [], []
        for part in edition.snapshots:
            true = edition.sample(part, 20_000)
            served = encoding.as_served(true.vectors_ND)
            errors.append(
                np.linalg.norm(served - true.vectors_ND, axis=1)
                / np.maximum(np.linalg.norm(true.vectors_ND, axis=1), 1e-12)
            )
            other = Snapshot(
                true.space,
                true.entity,
                true.day,
                np.array(true.keys_N),
                np.array(served),
                np.array(true.seen_N),
                true.ids,
            )
            overlaps.append(neighbour_overlap(true, other, 10, 0))
        size = encoding.encode(np.zeros((1, true.space.width), np.float32)).shape[1]
        lift, over = lifts[name], against[name]
        table.add_row(
            name,
            str(size),
            f"{np.concatenate(errors).mean():.1e}",
            f"{np.mean(overlaps):.4f}",
            f"{lift.roc_auc_lift_pct:+.3f} ({lift.low:+.3f}, {lift.high:+.3f})",
            f"{over.roc_auc_lift_pct:+.4f} ({over.low:+.4f}, {over.high:+.4f})",
        )
    out.print(table)


if __name__ == "__main__":
    main()
