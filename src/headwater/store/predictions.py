"""Predictions made before the labels were known, and what became of them: `predictions/` and
`judged/` in the warehouse.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from headwater.blobs import Layout
from headwater.config import USER_DAY, USER_TIME
from headwater.errors import EditionConflict, ExperimentError, StoreError
from headwater.evaluation import Judged, are_judged
from headwater.events import EventDay, Examples, Groups
from headwater.events.groups import IDENTITY, kept_as, looked_up, settled, user_groups
from headwater.files import write_atomic
from headwater.store.catalog import Entry

SEPARATOR = "|"


@dataclass(frozen=True)
class Grouping:
    """What rows compete within: `group` as the config says now (AUTO_GROUP, USER_TIME, USER_DAY or
    a column), and how the log's rows of a day are read where another group was kept.
    """

    group: str
    rows_of: Callable[[dt.date], EventDay]

    @property
    def kept_as(self) -> str:
        """What is kept of it with the rows."""
        return kept_as(self.group)


class Predictions:
    """One Parquet file per consumer and day: a row per prediction, a column per variant
    and seed.
    """

    def __init__(self, layout: Layout, users_share: float = 1.0) -> None:
        """`users_share` is the share of the users that is judged, as the config has it now."""
        self._layout = layout
        self._users_share = users_share

    def predicted(
        self,
        consumer: str,
        examples: Examples,
        rows_N: np.ndarray,
        scores: Mapping[str, Mapping[int, np.ndarray]],
        groups: Groups,
        read: Entry | None,
    ) -> None:
        """Keep a day's predictions, each with the key of its group, and with the edition that was
        `read` for them, if there was one, and of what inputs that was made (they stay the same when
        an erasure renews it).
        """
        columns = {}
        for variant, by_seed in scores.items():
            for seed, values in by_seed.items():
                whole = np.full(len(examples), np.nan, np.float32)
                whole[rows_N] = values
                columns[f"{variant}{SEPARATOR}{seed}"] = whole
        predicted = np.zeros(len(examples), bool)
        predicted[rows_N] = True
        frame = pl.DataFrame(
            {
                "time_us": examples.times_us_N,
                **dict(examples.keys),
                "group": groups.keys_N,
                "predicted": predicted,
                **columns,
            }
        )
        edition = (
            pl.lit(read.day if read else None, pl.Date),
            pl.lit(read.fingerprint if read else None, pl.String),
        )
        frame = frame.with_columns(
            group_of=pl.lit(groups.of),
            served=pl.lit(read is not None),
            edition=edition[0],
            edition_inputs=edition[1],
        )
        if self._users_share < 1:
            frame = frame.with_columns(users_share=pl.lit(self._users_share))
        _write(self._layout.predictions(consumer, examples.day), frame)

    def settle(self, consumer: str, matured: Examples, task: str, grouping: Grouping) -> Judged:
        """Join the predictions of a day with its labels, now that they are known; rows on which the
        task is not defined go.

        Raises EditionConflict where the day's rows are no longer those that were predicted.
        """
        path = self._layout.predictions(consumer, matured.day)
        if not path.is_file():
            raise StoreError(
                f"{path}: the predictions of {matured.day} are gone; run that day again with"
                " --replace."
            )
        frame = _read(path)
        identity = {"time_us": matured.times_us_N, **matured.keys}
        if any(
            name not in frame.columns or not np.array_equal(frame[name].to_numpy(), values)
            for name, values in identity.items()
        ):
            raise EditionConflict(
                f"log {matured.log}, day {matured.day}: its rows are no longer those that were"
                f" predicted (then {len(frame):,}, now {len(matured):,}). Put the log back, or run"
                f" `headwater run --day {matured.day} --replace`."
            )
        frame = frame.with_columns(label=pl.Series(matured.labels[task])).filter(
            pl.col("predicted") & pl.col("label").is_not_nan()
        )
        _write(self._layout.judged(consumer, matured.day), frame)
        return _as_judged([(matured.day, frame)], grouping)

    def days(self, consumer: str) -> list[dt.date]:
        """The days that were judged, oldest first."""
        return self._layout.judged_days(consumer)

    def editions_read(
        self, consumer: str, day: dt.date
    ) -> list[tuple[dt.date | None, str | None]] | None:
        """Which editions a day's judged rows say they read: day and inputs, (None, None) for none.
        None where they were judged before that was written down.
        """
        frame = _read(self._layout.judged(consumer, day))
        return (
            frame.select("edition", "edition_inputs").unique(maintain_order=True).rows()
            if "edition" in frame.columns
            else None
        )

    def pooled(
        self,
        consumer: str,
        start: dt.date | None,
        end: dt.date | None,
        among: Collection[dt.date],
        grouping: Grouping,
    ) -> Judged:
        """All judged days of a span on which there was an edition to read, of the days `among`
        only: what was judged on a day that was refused or rolled back does not count. Raises
        ExperimentError where there are none, or where fewer users were judged than are asked for;
        LogError where their groups have to be read from a log that is not there.
        """
        frames: list[tuple[dt.date, pl.DataFrame]] = []
        for day in [known for known in self.days(consumer) if known in among]:
            if (start is None or day >= start) and (end is None or day <= end):
                frame = self._of_judged_users(day, _read(self._layout.judged(consumer, day)))
                if len(frame) and frame["served"][0]:
                    frames.append((day, frame))
        odd = [day for day, frame in frames if _scores(frame) != _scores(frames[0][1])]
        if odd:
            raise ExperimentError(
                f"consumer {consumer!r}: its variants or seeds changed on {odd[0]}, so its days"
                f" cannot be pooled. Set evaluation.start to {odd[0]} or later, or evaluation.end"
                " before it."
            )
        if not frames:
            known = ", ".join(map(str, self.days(consumer))) or "none"
            raise ExperimentError(
                f"no judged day of the consumer {consumer!r} from {start or 'the start'} to"
                f" {end or 'the end'} had an edition to read; judged are: {known}. Run days with"
                " `headwater backfill`, or correct evaluation.start and end."
            )
        return _as_judged(frames, grouping)

    def _of_judged_users(self, day: dt.date, frame: pl.DataFrame) -> pl.DataFrame:
        """A day's judged rows of the users that are judged now: part of those that were then."""
        sampled = len(frame) > 0 and "users_share" in frame.columns
        then = frame["users_share"][0] if sampled else 1.0
        if then < self._users_share:
            raise ExperimentError(
                f"on {day} a share of {then:.3g} of the users was judged, less than the"
                f" {self._users_share:.3g} of evaluation.users_share now. Set that to {then:.3g},"
                f" evaluation.start to a later day, or run `headwater run --day {day} --replace`."
            )
        return frame.filter(pl.Series(are_judged(frame["user"].to_numpy(), self._users_share)))


def _scores(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if SEPARATOR in name]


def _as_judged(frames: list[tuple[dt.date, pl.DataFrame]], grouping: Grouping) -> Judged:
    columns = _scores(frames[0][1])
    whole = pl.concat(
        [frame.select("user", "item", "time_us", "label", *columns) for _, frame in frames]
    )
    scores: dict[str, dict[int, np.ndarray]] = {}
    for name in columns:
        variant, seed = name.rsplit(SEPARATOR, 1)
        scores.setdefault(variant, {})[int(seed)] = whole[name].to_numpy()
    days = np.concatenate([np.full(len(frame), day.toordinal(), np.int32) for day, frame in frames])
    users, times = whole["user"].to_numpy(), whole["time_us"].to_numpy()
    keys = np.concatenate([_group_keys(day, frame, grouping) for day, frame in frames])
    groups = settled(grouping.group, Groups(grouping.kept_as, keys), users, times, days)
    return Judged(
        labels_N=whole["label"].to_numpy(),
        users_N=users,
        days_N=days,
        scores=scores,
        items_N=whole["item"].to_numpy(),
        times_us_N=times,
        groups_N=groups.keys_N,
        group=groups.in_words,
    )


def _group_keys(day: dt.date, frame: pl.DataFrame, grouping: Grouping) -> np.ndarray:
    """Of a day's judged rows: as they were kept with them or, where another group was, from user
    and time, or from the log.
    """
    wanted = grouping.kept_as
    if "group_of" in frame.columns and (frame["group_of"] == wanted).all():
        return frame["group"].to_numpy()
    if wanted in (USER_TIME, USER_DAY):
        days = np.full(len(frame), day.toordinal())
        return user_groups(
            wanted, frame["user"].to_numpy(), frame["time_us"].to_numpy(), days
        ).keys_N
    return looked_up(grouping.rows_of(day), frame.select(IDENTITY))


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}). Run that day again with --replace."
        ) from error


def _write(path: Path, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_atomic(path, buffer.getvalue())
