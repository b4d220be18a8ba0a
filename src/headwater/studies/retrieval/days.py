"""What retrieval is judged on: of each day, who clicked what, and the vectors that were served
then. Shapes: Q queries, N items, D width, M pairs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from headwater.config import EvaluationConfig, FactoryConfig, RetrievalConfig
from headwater.embeddings import Space
from headwater.embeddings.aggregate import find
from headwater.errors import ExperimentError
from headwater.events.pairs import Pairs, known_after_of, read_pairs, seed_pairs
from headwater.index import counts_of, log_popularity
from headwater.lifecycle.timeline import Timeline
from headwater.models.upstream import UpstreamPlan, plan_of
from headwater.schema import Schema, Task
from headwater.store import Tombstones
from headwater.store.reports import training_of
from headwater.workspace import Workspace

TUNING_DAYS = 2  # before the judged ones: on which the rivals' settings are chosen
GROUPS = ("all", "warm", "cold")


@dataclass(frozen=True)
class RetrievalDay:
    """One day's queries: the users with a positive that day who were `served` a vector of the
    edition of that earlier day; candidates are the served items. `past` holds what was known before
    the day, `seed` what was known before the log; `temperature` is what the vectors' cosines are
    divided by to become scores. `met_before` counts what these users clicked and had met before:
    where that is not to be retrieved, it is not wanted either.
    """

    day: dt.date
    served: dt.date
    space: Space
    users_Q: np.ndarray
    queries_QD: np.ndarray
    items_N: np.ndarray
    points_ND: np.ndarray
    wanted: Pairs
    past: Pairs
    seed: Pairs
    settings: RetrievalConfig
    temperature: float
    met_before: int = 0

    def __len__(self) -> int:
        return len(self.users_Q)

    def matrix(self, pairs: Pairs) -> csr_array:
        """1 where a pair joins a user and an item that are both here, [Q, N]."""
        users, known = find(self.users_Q, pairs.users_M)
        items, there = find(self.items_N, pairs.items_M)
        hit_M = known & there
        ones = np.ones(int(hit_M.sum()), np.float32)
        made = csr_array((ones, (users[hit_M], items[hit_M])), shape=(len(self), len(self.items_N)))
        made.sum_duplicates()
        return made

    @cached_property
    def met(self) -> csr_array | None:
        """What is not to be retrieved: what the user met before, if the config says so."""
        if not self.settings.unseen:
            return None
        return self.matrix(self.past) + self.matrix(self.seed)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each wanted item its query, and its row among the candidates (-1: it has no vector),
        [M] and [M].
        """
        queries, _ = find(self.users_Q, self.wanted.users_M)
        columns, there = find(self.items_N, self.wanted.items_M)
        return queries, np.where(there, columns, -1)

    @cached_property
    def is_cold(self) -> np.ndarray:
        """Which wanted items had few rows in the log before the day, [M]."""
        return counts_of(self.wanted.items_M, self.past.items_M) < self.settings.cold_rows

    def popularity(self, days: int | None, before: dt.date | None = None) -> np.ndarray:
        """log(1 + positives of the last `days` days before the day, or `before` another) of the
        candidates, [N]; None: of all days.
        """
        end = before or self.day
        first = dt.date.min if days is None else end - dt.timedelta(days=days)
        last = end - dt.timedelta(days=1)
        counted = self.past.between(first, last).known_by(last).positives
        return log_popularity(self.items_N, counted.items_M)


@dataclass(frozen=True)
class RetrievalData:
    """The judged days, and those before them on which settings are chosen. `asked` counts users
    with a positive, by judged day.
    """

    upstream: str
    task: str
    judged: tuple[RetrievalDay, ...]
    earlier: tuple[RetrievalDay, ...]
    asked: tuple[int, ...]

    @property
    def temperature(self) -> float:
        """That of the last judged day."""
        return self.judged[-1].temperature


def read_days(workspace: Workspace) -> RetrievalData:
    """The days that the config evaluates, of the workspace's lane, each with the edition that was
    served then and no later one.

    Raises ExperimentError where no day has both rows and an edition; EditionMissing where retention
    removed one.
    """
    config, schema, tombstones = workspace.config, workspace.schema, workspace.tombstones()
    timeline = Timeline(workspace)
    task = schema.tasks[config.retrieval_task()]
    log = workspace.events().logs[task.log]
    days = [day for day in timeline.days if timeline.entry_on(day) is not None]
    judged = _judged_days(config.evaluation, days)
    earlier = _earlier_days(timeline, days, judged[0])
    timeline.expect(judged)
    logged = log.span()
    first = logged[0] if logged else judged[0]
    pairs = read_pairs(log, task, first, judged[-1], known_after_of(schema, task))
    seed = _seed(schema, task, tombstones)
    plan = plan_of(config, schema, config.retrieval_upstream())
    made = {day: _day(config, timeline, pairs, seed, plan, day) for day in (*earlier, *judged)}
    asked = tuple(len(np.unique(pairs.between(day, day).positives.users_M)) for day in judged)
    return RetrievalData(
        upstream=plan.name,
        task=task.name,
        judged=tuple(made[day] for day in judged),
        earlier=tuple(made[day] for day in earlier),
        asked=asked,
    )


def _judged_days(span: EvaluationConfig, days: Sequence[dt.date]) -> list[dt.date]:
    """Those of the span that is evaluated. Raises ExperimentError where there are none."""
    judged = [
        day
        for day in days
        if (span.start is None or day >= span.start) and (span.end is None or day <= span.end)
    ]
    if span.start is None:  # the first days choose settings
        judged = judged[min(TUNING_DAYS, len(judged) - 1) :]
    if not judged:
        raise ExperimentError(
            f"retrieval: no day from {span.start or 'the start'} to {span.end or 'the end'} was run"
            " with an edition to read. Run days with `headwater backfill`, or correct"
            " evaluation.start and end."
        )
    return judged


def _earlier_days(timeline: Timeline, days: Sequence[dt.date], first: dt.date) -> list[dt.date]:
    """The last days before the first judged one whose edition is still there."""
    earlier = []
    for day in days:
        entry = timeline.entry_on(day)
        if day < first and entry is not None and entry.folder is not None:
            earlier.append(day)
    return earlier[-TUNING_DAYS:]


def _day(
    config: FactoryConfig,
    timeline: Timeline,
    pairs: Pairs,
    seed: Pairs,
    plan: UpstreamPlan,
    day: dt.date,
) -> RetrievalDay:
    """One day's queries. Raises ExperimentError where none of its users was served a vector."""
    user, item = (plan.embedding(entity) for entity in ("user", "item"))
    positives = pairs.between(day, day).positives
    entry = timeline.entry_on(day)
    assert entry is not None
    people = np.unique(positives.users_M)
    served = timeline.read(user, people, day)
    if served is None or not served.found_N.any():
        raise ExperimentError(
            f"retrieval: no user with a positive on {day} was served a vector of {user}. Set"
            " evaluation.start to a later day."
        )
    edition = timeline.open(entry)
    past = pairs.known_by(day - dt.timedelta(days=1))
    wanted = _once_each(positives)
    wanted = wanted.take(np.isin(wanted.users_M, people[served.found_N]))
    new_M = np.ones(len(wanted), bool)
    if config.retrieval.unseen:
        new_M = ~(among(wanted, past) | among(wanted, seed))
    if not new_M.any():
        raise ExperimentError(
            f"retrieval: on {day} users clicked nothing that they had not met before, and"
            " retrieval.unseen leaves that out. Set it to false, or evaluation.start to a later"
            " day."
        )
    asking_N = served.found_N & np.isin(people, wanted.users_M[new_M])
    return RetrievalDay(
        day=day,
        served=entry.day,
        space=edition.space(item),
        users_Q=people[asking_N],
        queries_QD=served.vectors_ND[asking_N],
        items_N=np.array(edition.part(item).keys),
        points_ND=edition.points(item),
        wanted=wanted.take(new_M),
        past=past,
        seed=seed,
        settings=config.retrieval,
        temperature=plan.temperature_after(training_of(edition.folder, plan.name)),
        met_before=int((~new_M).sum()),
    )


def among(pairs: Pairs, others: Pairs) -> np.ndarray:
    """Which of the pairs join a user and an item that one of the others joins, bool [M]."""
    users, items = np.unique(pairs.users_M), np.unique(pairs.items_M)

    def numbered(some: Pairs) -> np.ndarray:
        user, known = find(users, some.users_M)
        item, there = find(items, some.items_M)
        return (user * len(items) + item)[known & there]

    return np.isin(numbered(pairs), numbered(others))


def _once_each(pairs: Pairs) -> Pairs:
    """Of every user and item the first pair."""
    both = np.stack([pairs.users_M, pairs.items_M])
    return pairs.take(np.unique(both, axis=1, return_index=True)[1])


def _seed(schema: Schema, task: Task, tombstones: Tombstones) -> Pairs:
    """What the users' histories hold from before the log."""
    history = schema.histories_of(task.log).get("user")
    if history is None or history.seed is None or history.of != "item":
        return Pairs.none()
    pairs = seed_pairs(history, task, dt.date.min)
    return pairs.take(
        ~(tombstones.matches("user", pairs.users_M) | tombstones.matches("item", pairs.items_M))
    )
