"""The offline tables on demand: from judged predictions to lifts with intervals. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.errors import ExperimentError
from headwater.evaluation import Lift, lift_table
from headwater.judging import Judgements
from headwater.store import MAIN, read_catalog
from headwater.store.catalog import home_of

# The paper's tables by the consumer they are about.
TABLES = {"T2": "ctr", "T3": "cvr"}
BOOTSTRAP_SEED = 20250904


@dataclass(frozen=True)
class Table:
    """One table: a consumer's arms, judged over a span of days."""

    name: str
    consumer: str
    first_day: str
    last_day: str
    rows: tuple[Lift, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"table": self.name, "consumer": self.consumer, "first_day": self.first_day, "last_day": self.last_day,
                "rows": [row.as_dict() for row in self.rows]}  # fmt: skip


def make_table(config: FactoryConfig, root: Path, name: str) -> Table:
    """`T2` (CTR ranker) or `T3` (CVR ranker). Raises ExperimentError where the factory has no such consumer or no judged days."""
    if name not in TABLES:
        raise ExperimentError(f"no table named {name!r}; there are: T1, {', '.join(TABLES)}.")
    consumer = TABLES[name]
    if consumer not in config.downstream:
        raise ExperimentError(f"{name} is about the consumer {consumer!r}; this factory has: {', '.join(config.downstream) or 'none'}. "
                              f"Declare downstream.{consumer} in factory.yaml.")  # fmt: skip
    span = config.evaluation
    warehouse = warehouse_of(config, root)
    catalog = read_catalog(warehouse)
    lane = catalog.live.lane if catalog.live else MAIN
    days = {entry.day for entry in catalog.lane(lane).days}
    judged = Judgements(home_of(warehouse, lane)).pooled(consumer, span.start, span.end, days)
    rows = lift_table(judged, span.bootstrap, span.confidence, BOOTSTRAP_SEED)
    first, last = (str(judged.day(position)) for position in (0, -1))
    return Table(name, consumer, first, last, tuple(rows))


def load_table(path: Path, name: str) -> Table:
    return make_table(load_config(path), path.resolve().parent, name)
