"""From a factory's judged predictions to its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.console import SILENT, Console
from headwater.errors import ExperimentError, LogError
from headwater.evaluation import Judged, Table
from headwater.store import MAIN, read_catalog
from headwater.store.catalog import home_of
from headwater.store.predictions import Judgements
from headwater.studies.auditing import audit
from headwater.studies.calibration import calibration_table
from headwater.studies.lifts import lifts_of
from headwater.studies.saved import kept_tables
from headwater.studies.slices import slice_table

# The tables that judged predictions give, and the consumer that each is about unless another is
# named.
FROM_JUDGEMENTS = {"T2": "ctr", "T3": "cvr", "slices": "ctr", "calibration": "ctr"}


def judged_table(
    config: FactoryConfig, root: Path, name: str, consumer: str | None = None
) -> Table:
    """One of FROM_JUDGEMENTS. Raises ExperimentError where the factory has no such consumer or no
    judged days, LeakError where what was judged may have seen its labels.
    """
    chosen = consumer or FROM_JUDGEMENTS[name]
    if chosen not in config.downstream:
        raise ExperimentError(
            f"{name} is about the consumer {chosen!r}; this factory has:"
            f" {', '.join(config.downstream) or 'none'}. Name one with --consumer, or declare"
            f" downstream.{chosen} in factory.yaml."
        )
    warehouse = warehouse_of(config, root)
    judged = pooled(config, warehouse, chosen)
    unchecked = audited(config, root, chosen, judged)
    if name == "slices":
        table = slice_table(config, root, warehouse, chosen, judged)
    else:
        table = (
            calibration_table(chosen, judged)
            if name == "calibration"
            else lifts_of(config, name, chosen, judged)
        )
    return replace(table, notes=(*table.notes, *unchecked))


def audited(config: FactoryConfig, root: Path, consumer: str, judged: Judged) -> tuple[str, ...]:
    """What the leak audit could not check, as notes. Raises LeakError where it finds a leak."""
    found = audit(
        config,
        root,
        consumer,
        [judged.day(int(row)) for row in np.unique(judged.days_N, return_index=True)[1]],
    )
    found.raise_if_leaking()
    return tuple(f"Not checked for leaks: {note}" for note in found.notes)


def pooled(config: FactoryConfig, warehouse: Path, consumer: str) -> Judged:
    """The judged rows of the span that the config evaluates, in the lane that is live."""
    catalog, span = read_catalog(warehouse), config.evaluation
    lane = catalog.live.lane if catalog.live else MAIN
    return Judgements(home_of(warehouse, lane)).pooled(
        consumer, span.start, span.end, {entry.day for entry in catalog.lane(lane).days}
    )


def load_table(path: Path, name: str, consumer: str | None = None) -> Table:
    return judged_table(load_config(path), path.resolve().parent, name, consumer)


def report_tables(config: FactoryConfig, root: Path, console: Console = SILENT) -> list[Table]:
    """What the report shows: the lifts of every consumer, then the tables kept from backtests,
    then slices and calibration. What cannot be made is told on the console.
    """
    found: list[Table] = []
    asked = [
        ("T3" if config.tasks[spec.task].given else "T2", consumer)
        for consumer, spec in config.downstream.items()
    ]
    late = [
        (name, consumer) for name in ("slices", "calibration") for consumer in config.downstream
    ]
    for place, (name, consumer) in enumerate([*asked, *late]):
        if place == len(asked):
            found += kept_tables(warehouse_of(config, root), config)
        try:
            found.append(judged_table(config, root, name, consumer))
        except (ExperimentError, LogError) as error:
            console.log(f"{name} of {consumer} is left out: {error}")
    return found
