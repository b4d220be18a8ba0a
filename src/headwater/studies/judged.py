"""From a factory's judged predictions to its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from headwater.errors import ExperimentError
from headwater.evaluation import Judged, Table
from headwater.studies.auditing import audit
from headwater.studies.calibration import calibration_table
from headwater.studies.lifts import lifts_of
from headwater.studies.registry import Asked
from headwater.studies.slices import slice_table
from headwater.workspace import Workspace


def lift_study(asked: Asked) -> Table:
    """T2 and T3: what each set of embeddings gains the ranker."""
    config, name = asked.workspace.config, asked.study.name
    return _audited_table(asked, lambda judged: lifts_of(config, name, asked.consumer, judged))


def slice_study(asked: Asked) -> Table:
    """Whom the embeddings help."""
    workspace, consumer = asked.workspace, asked.consumer
    return _audited_table(asked, lambda judged: slice_table(workspace, consumer, judged))


def calibration_study(asked: Asked) -> Table:
    """Whether a predicted probability is what it says."""
    confidence = asked.workspace.config.evaluation.confidence
    return _audited_table(
        asked, lambda judged: calibration_table(asked.consumer, judged, confidence)
    )


def _audited_table(asked: Asked, make: Callable[[Judged], Table]) -> Table:
    """A table of the judged rows, once the audit has found no leak in them."""
    judged = pooled(asked.workspace, asked.consumer)
    unchecked = audited(asked.workspace, asked.consumer, judged)
    table = make(judged)
    return replace(table, notes=(*table.notes, *unchecked))


def expect_consumer(workspace: Workspace, table: str, consumer: str) -> None:
    """Raise ExperimentError where the factory has no such ranker."""
    rankers = workspace.config.downstream
    if consumer not in rankers:
        raise ExperimentError(
            f"{table} is about the consumer {consumer!r}; this factory has:"
            f" {', '.join(rankers) or 'none'}. Name one with --consumer, or declare"
            f" downstream.{consumer} in factory.yaml."
        )


def audited(workspace: Workspace, consumer: str, judged: Judged) -> tuple[str, ...]:
    """What the leak audit could not check, or has doubts of, as notes. Raises LeakError where it
    finds a leak.
    """
    firsts = np.unique(judged.days_N, return_index=True)[1]
    found = audit(workspace, consumer, [judged.day(int(row)) for row in firsts])
    found.raise_if_leaking()
    return found.notes


def pooled(workspace: Workspace, consumer: str) -> Judged:
    """The judged rows of the span that the config evaluates, in the workspace's lane.

    Raises ExperimentError where there are none.
    """
    return workspace.judged(consumer, set(workspace.days_done()))
