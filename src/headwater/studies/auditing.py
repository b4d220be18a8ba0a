"""The leak audit: were features, histories and editions made before the rows that they were judged
on? docs/leaks.md says what it can tell.

Shape suffixes: N rows, E entities, D days, Q quarters of a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.errors import LeakError, LogError
from headwater.evaluation.audit import (
    P_VALUE,
    SHARE,
    Foreknowledge,
    Tally,
    auc_above,
    foreknowledge,
    is_leak,
)
from headwater.events import Histories
from headwater.events.entities import read_table
from headwater.files import read_json, write_json
from headwater.schema import Entity, History, Numeric, Task, Vector
from headwater.store import Lane
from headwater.store.predictions import Predictions
from headwater.workspace import Workspace

METHOD = 1  # one more whenever figures change, so that kept audits are made again
ENTITIES = 20_000  # of a table at most; keys are hashes, so the lowest ones are a fair draw
OTHER_DAYS = 30  # read before the judged ones, and after them
QUARTERS = 4
# ROC-AUC that "the row's own item stands in the history" may have: in its seed, as its newest
# event, and anywhere. Measured in docs/leaks.md.
SEED_AUC, REPEAT_AUC, HISTORY_AUC = 0.6, 0.55, 0.7


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `figure` and `threshold` are None where nothing was measured, `reason`
    says what was found; what passed because it could not be `checked`, or is trusted, says so too.
    """

    name: str
    figure: float | None
    threshold: float | None
    passed: bool
    reason: str
    checked: bool = True


@dataclass(frozen=True)
class Audit:
    """What the audit of a consumer's judged days found."""

    consumer: str
    first_day: dt.date
    last_day: dt.date
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        return tuple(found for found in self.findings if not found.passed)

    @property
    def notes(self) -> tuple[str, ...]:
        """What nobody has checked."""
        return tuple(
            f"{found.name}: {found.reason}" for found in self.findings if not found.checked
        )

    def raise_if_leaking(self) -> None:
        """Raises LeakError, which names every leak."""
        if self.leaks:
            listed = "\n  - ".join(f"{found.name}: {found.reason}" for found in self.leaks)
            raise LeakError(
                f"consumer {self.consumer!r}, judged from {self.first_day} to {self.last_day}: what"
                f" it read knew what it was judged on.\n  - {listed}\nMake each of what was known"
                f" before {self.first_day} and run the days again with --replace, or take it out."
                " Where you know better, `evaluation.trusted` passes over features, histories and"
                " logs by these names."
            )

    def as_json(self) -> dict[str, Any]:
        return {
            "consumer": self.consumer,
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "findings": [asdict(found) for found in self.findings],
        }


def audit(workspace: Workspace, consumer: str, days: Collection[dt.date]) -> Audit:
    """Look over the judged `days` of a consumer, in the workspace's lane. What reads the log is
    measured once and kept in `audits/DIGEST.json`, under the config, the days, and the inputs of
    every day that was run; where the log is gone, a finding says that it was not. Raises
    StoreError.
    """
    judged, config, lane = sorted(days), workspace.config, workspace.chain()
    found = [
        *declared(config, judged[0]),
        *recorded(config, workspace.predictions, lane, consumer, judged),
    ]
    key = digest_of(
        METHOD,
        config.digest(),
        workspace.lane,
        consumer,
        judged,
        [entry.fingerprint for entry in lane.days],
        workspace.tombstones().digest,
    )
    kept = workspace.layout.audit(key)
    try:
        if not kept.is_file():
            made = measured(workspace, lane, consumer, judged)
            write_json(kept, [asdict(one) for one in made])
        found += [Finding(**raw) for raw in read_json(kept)]
    except LogError as error:
        found.append(
            Finding(
                f"logs.{config.tasks[config.downstream[consumer].task].log}",
                None,
                None,
                True,
                f"nothing was measured: {error}",
                checked=False,
            )
        )
    return Audit(consumer, judged[0], judged[-1], tuple(_trusted(config, found)))


def _trusted(config: FactoryConfig, found: Iterable[Finding]) -> Iterator[Finding]:
    for one in found:
        if one.name in config.evaluation.trusted:
            one = replace(
                one,
                passed=True,
                checked=False,
                reason=f"trusted, as evaluation.trusted says; {one.reason}",
            )
        yield one


# ---- what is declared, and what was written down -------------------------------------------------


def declared(config: FactoryConfig, first: dt.date) -> Iterator[Finding]:
    """Every `as_of` of the config: it must lie before the first judged day."""
    dates = {f"entities.{name}.as_of": entity.as_of for name, entity in config.entities.items()}
    dates |= {
        f"histories.{name}.seed.as_of": history.seed.as_of
        for name, history in config.histories.items()
        if history.seed
    }
    for name, as_of in dates.items():
        if as_of is not None:
            passed = as_of < first
            reason = (
                f"{as_of} is {'before' if passed else 'not before'} {first}, the first judged day"
            )
            yield Finding(
                name,
                None,
                None,
                passed,
                reason if passed else f"{reason}: its table may hold what the rows are judged on",
            )


def recorded(
    config: FactoryConfig, judgements: Predictions, lane: Lane, consumer: str, days: list[dt.date]
) -> Iterator[Finding]:
    """Whether each judged day read an edition that was `lag_days` old, and that the catalog still
    has, made of the same inputs.
    """
    lag, unknown = dt.timedelta(days=config.lifecycle.lag_days), list[dt.date]()
    for day in days:
        read = judgements.editions_read(consumer, day)
        if read is None:
            unknown.append(day)
        for edition, inputs in read or []:
            entry = lane.get(edition) if edition is not None else None
            if edition is None or (
                edition <= day - lag and entry is not None and entry.fingerprint == inputs
            ):
                continue
            why = (
                f"the newest that they may read is of {day - lag} (lifecycle.lag_days: {lag.days})"
                if edition > day - lag
                else (
                    "the catalog has none of that day"
                    if entry is None
                    else "the catalog's edition of that day was made of other inputs since"
                )
            )
            yield Finding(
                f"judged/{consumer}/{day}",
                None,
                None,
                False,
                f"the rows of {day} read the edition of {edition}: {why}",
            )
    known = len(days) - len(unknown)
    if unknown:
        why = (
            f"{len(unknown)} of {len(days)} days were judged before the editions they read were"
            " written down"
        )
        yield Finding(f"judged/{consumer}", None, None, True, why, checked=False)
    if known:
        yield Finding(
            f"judged/{consumer}",
            None,
            None,
            True,
            f"the editions read on {known} of {len(days)} days were looked up in the catalog",
        )


# ---- what is measured ----------------------------------------------------------------------------


class _Counts:
    """Rows and positives of the entities of a table: of each judged day by quarters, and of the
    days before and after, summed.
    """

    def __init__(self, entity: Entity, days: list[dt.date]) -> None:
        self.entity, self._days = entity, days
        keys, frame = read_table(entity)
        drawn = keys <= np.uint64(min(1.0, ENTITIES / max(1, len(keys))) * float(2**64 - 2**12))
        self.keys, self._frame = keys[drawn], frame.filter(pl.Series(drawn))
        self._judged = np.zeros((2, len(self.keys), len(days), QUARTERS))
        self._before, self._after = np.zeros((2, len(self.keys))), np.zeros((2, len(self.keys)))

    def values(self, feature: str) -> np.ndarray:
        """A numeric feature as the table has it, float64 [E], NaN where it is no number."""
        numbers = (
            self._frame[feature].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        )
        return np.where(np.isfinite(numbers), numbers, np.nan)

    def add(self, day: dt.date, keys_N: np.ndarray, labels_N: np.ndarray) -> None:
        """A day's rows, by time."""
        if not len(self.keys):
            return
        place_N = np.minimum(np.searchsorted(self.keys, keys_N), len(self.keys) - 1)
        known_N = np.flatnonzero(self.keys[place_N] == keys_N)
        quarter_N = np.arange(len(keys_N)) * QUARTERS // max(1, len(keys_N))
        counts = np.zeros((2, len(self.keys), QUARTERS))
        np.add.at(counts[0], (place_N[known_N], quarter_N[known_N]), 1)
        np.add.at(counts[1], (place_N[known_N], quarter_N[known_N]), labels_N[known_N])
        if day in self._days:
            self._judged[:, :, self._days.index(day)] = counts
        elif day < self._days[0]:
            self._before += counts.sum(axis=2)
        else:
            self._after += counts.sum(axis=2)

    def tallies(self) -> list[Tally]:
        """The first judged day, the first two, four and so on, each beside the days before, for a
        table may end amid the judged days; all of them beside the days after as well.
        """
        made = []
        for last in [
            *(length for n in range(10) if (length := 2**n) < len(self._days)),
            len(self._days),
        ]:
            span = self._judged[:, :, 0] if last == 1 else self._judged[:, :, :last].sum(axis=3)
            others = self._before + self._after if last == len(self._days) else self._before
            made.append(Tally(*span, *others))
        return made


def measured(workspace: Workspace, lane: Lane, consumer: str, days: list[dt.date]) -> list[Finding]:
    """Every numeric feature of the log's entities, and every history of the log, against the labels
    of the judged days.
    """
    schema, config, reader = workspace.schema, workspace.config, workspace.events()
    task = schema.tasks[config.downstream[consumer].task]
    entities = [schema.entities[name] for name in schema.logs[task.log].entities]
    counts = [
        _Counts(entity, days)
        for entity in entities
        if any(isinstance(kind, Numeric) for kind in entity.features.values())
    ]
    histories = {
        name: spec.entity or name for name, spec in config.histories.items() if spec.log == task.log
    }
    seen: dict[tuple[str, str, float], dict[dt.date, tuple[np.ndarray, np.ndarray]]] = {}
    matures = dt.timedelta(days=task.matures_days)
    unread: list[dt.date] = []
    for day in _days_read(lane, task, days):
        try:
            rows = reader.read(task.log, day, (task.name,), known_by=day + matures)
        except LogError:
            if day in days:
                raise
            unread.append(day)  # a day that is not judged only sharpens the test
            continue
        rows = rows.where_defined((task.name,))
        labels_N = rows.labels[task.name]
        for table in counts:
            table.add(day, rows.keys[table.entity.name], labels_N)
        if day in days:
            for name, owner in histories.items():
                spec = schema.histories_of(task.log)[owner]
                for about, what, threshold, scores_N in _memories(
                    rows.histories[owner], rows.keys[spec.of], spec
                ):
                    seen.setdefault(
                        (
                            f"logs.{task.log}" if about == "log" else f"histories.{name}{about}",
                            what,
                            threshold,
                        ),
                        {},
                    )[day] = (labels_N, scores_N)
    note = (
        f"{len(unread)} days beside the judged ones cannot be read any more"
        f" ({', '.join(map(str, unread[:3]))}...), so the tests see less"
    )
    gone = [Finding(f"logs.{task.log}", None, None, True, note, checked=False)] if unread else []
    return [*gone, *_about_features(counts, entities), *_about_memories(seen)]


def _days_read(lane: Lane, task: Task, days: list[dt.date]) -> list[dt.date]:
    """The judged days, and days run before and after them, those whose labels have matured."""
    run = [entry.day for entry in lane.days]
    matured = [day for day in run if day + dt.timedelta(days=task.matures_days) <= run[-1]]
    before, after = (
        [day for day in matured if day < days[0]],
        [day for day in matured if day > days[-1]],
    )
    return [*before[-OTHER_DAYS:], *days, *after[:OTHER_DAYS]]


def _memories(
    history: Histories, own_N: np.ndarray, spec: History
) -> Iterator[tuple[str, str, float, np.ndarray]]:
    """Scores that a history gives its own rows: 1 where the row's item stands there (with an
    action), and, of the newest event, -1 where it stands there without.
    """
    same_NL, seed_NL = history.keys_NL == own_N[:, None], np.isnan(history.gaps_s_NL)
    bits = {
        f" with {action}": (history.actions_NL >> bit) & 1 == 1
        for bit, action in enumerate(spec.actions)
    }
    seeded = ((".seed", SEED_AUC, same_NL & seed_NL),) if spec.seed else ()
    for about, threshold, within_NL in (*seeded, ("", HISTORY_AUC, same_NL)):
        yield about, "", threshold, within_NL.any(axis=1).astype(np.int8)
        for what, bit_NL in bits.items():
            yield about, what, threshold, (within_NL & bit_NL).any(axis=1).astype(np.int8)
    newest_N = same_NL[:, 0] & ~seed_NL[:, 0]
    yield "log", "", REPEAT_AUC, newest_N.astype(np.int8)
    for what, bit_NL in bits.items():
        yield (
            "log",
            what,
            REPEAT_AUC,
            np.where(newest_N, np.where(bit_NL[:, 0], 1, -1), 0).astype(np.int8),
        )


def _about_features(counts: list[_Counts], entities: list[Entity]) -> Iterator[Finding]:
    found: dict[tuple[str, str], list[Foreknowledge]] = {}
    with threadpool_limits(1):  # many small fits: threads would only wait for each other
        for table in counts:
            tallies = table.tallies()
            for feature, kind in table.entity.features.items():
                if isinstance(kind, Numeric):
                    found[table.entity.name, feature] = foreknowledge(
                        table.values(feature), tallies
                    )
    tests = sum(map(len, found.values()))
    for (entity, feature), known in found.items():
        yield _about_feature(entity, f"{entity}.{feature}", known, tests)
    for spec in entities:
        for feature, kind in spec.features.items():
            if isinstance(kind, Vector):
                why = (
                    "not measured: no test here tells what a vector has seen;"
                    f" entities.{spec.name}.as_of can say of which day it is"
                )
                yield Finding(f"{spec.name}.{feature}", None, None, True, why, checked=False)


def _about_feature(entity: str, name: str, known: list[Foreknowledge], tests: int) -> Finding:
    if not known:
        return Finding(
            name,
            None,
            None,
            True,
            "not measured: too few entities have enough rows, or it has too few values",
            checked=False,
        )
    worst = max(known, key=lambda one: (is_leak(one, tests), one.share))
    passed = not is_leak(worst, tests)
    said = (
        f"knows {max(0.0, worst.share):.0%} of the chance in the judged {worst.what} of"
        f" {worst.entities:,} {entity}s (z {worst.z:.1f}); allowed {SHARE:.0%}, or what chance"
        f" explains at p {P_VALUE:g} over {tests} tests"
    )
    return Finding(
        name,
        round(worst.share, 4),
        SHARE,
        passed,
        said if passed else f"{said}: it holds judged days",
    )


def _about_memories(
    seen: Mapping[tuple[str, str, float], Mapping[dt.date, tuple[np.ndarray, np.ndarray]]],
) -> Iterator[Finding]:
    """One finding for each history, its seed, and the log: its strongest score, on its strongest
    day or over all.
    """
    worst: dict[str, tuple[float, Finding]] = {}
    for (name, what, threshold), by_day in seen.items():
        whole = tuple(np.concatenate(parts) for parts in zip(*by_day.values(), strict=True))
        for when, (labels_N, scores_N) in {
            "all judged days": whole,
            **{str(day): pair for day, pair in by_day.items()},
        }.items():
            auc, lowest = auc_above(labels_N, scores_N)
            place = (
                "the newest event of the row's history is its own item"
                if name.startswith("logs.")
                else "the row's own item stands there"
            )
            said = (
                f"whether {place}{what} tells its label with ROC-AUC {auc:.3f} (surely"
                f" {lowest:.3f}; {when}); allowed {threshold}"
            )
            passed = lowest <= threshold
            if not passed:
                said += (
                    ": its rows repeat earlier ones"
                    if name.startswith("logs.")
                    else ": it holds judged events"
                )
            if name not in worst or lowest - threshold > worst[name][0]:
                worst[name] = (
                    lowest - threshold,
                    Finding(name, round(auc, 4), threshold, passed, said),
                )
    yield from (found for _, found in worst.values())
