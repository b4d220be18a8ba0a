"""Histories as of an event: what happened strictly before it, and was known by then.

Never the row itself, nor anything later. Shape suffixes: N events, M past ones, L events of a
history, K codes of a row, J codes of a past event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from headwater.errors import LogError
from headwater.events.cleaning import TIME
from headwater.events.tables import collect, matching_files, scan
from headwater.ids import keys_of
from headwater.schema import History, Log

SEED_TIME = -1  # events known only to lie before the first day


@dataclass(frozen=True)
class Histories:
    """The last L events before each of N, the newest first.

    Keys (0: none), actions as bit masks, and seconds that have passed since (NaN: unknown).
    """

    keys_NL: np.ndarray
    actions_NL: np.ndarray
    gaps_s_NL: np.ndarray

    def take(self, rows_N: np.ndarray) -> Histories:
        return Histories(self.keys_NL[rows_N], self.actions_NL[rows_N], self.gaps_s_NL[rows_N])

    def newest(self, length: int) -> Histories:
        """The same without the events before the last `length`."""
        return Histories(
            self.keys_NL[:, :length], self.actions_NL[:, :length], self.gaps_s_NL[:, :length]
        )

    def arrays(self) -> list[np.ndarray]:
        return [self.keys_NL, self.actions_NL, self.gaps_s_NL]


def counters(history: Histories, actions: int, seeded: bool) -> np.ndarray:
    """Counting features of N histories, float32 [N, 2 + actions].

    log(1 + events), the smoothed share of each action, and log(1 + hours since the newest event),
    NaN where there is none. With `seeded`, the seed's events count as well.
    """
    present_NL = history.keys_NL != 0
    if not seeded:
        present_NL = present_NL & ~np.isnan(history.gaps_s_NL)
    seen_N = present_NL.sum(axis=1)
    taken = [(((history.actions_NL >> bit) & 1) * present_NL).sum(axis=1) for bit in range(actions)]
    shares = [(count + 1) / (seen_N + 2) for count in taken]
    hours_N = history.gaps_s_NL[:, 0] / 3600
    return np.stack([np.log1p(seen_N), *shares, np.log1p(hours_N)], axis=1).astype(np.float32)


def pair_numbers(
    history: Histories, actions: int, own_NK: np.ndarray, past_NLJ: np.ndarray
) -> np.ndarray:
    """What N histories tell of the events that share a code with the row, float32 [N, 2 + actions].

    A row's codes are `own_NK`, the events' `past_NLJ` (0: none). Of the events that share one:
    log(1 + how many), the smoothed share of each action, and log(1 + hours since the newest), NaN
    where there is none or its time is not known.
    """
    alike_NL = np.zeros(history.keys_NL.shape, bool)
    for k in range(own_NK.shape[1]):
        mine_N1 = own_NK[:, k, None]
        for j in range(past_NLJ.shape[2]):
            alike_NL |= (past_NLJ[:, :, j] == mine_N1) & (mine_N1 != 0)
    alike_NL &= history.keys_NL != 0
    found_N = alike_NL.sum(axis=1)
    taken = [(((history.actions_NL >> bit) & 1) * alike_NL).sum(axis=1) for bit in range(actions)]
    newest_N = np.where(found_N > 0, alike_NL.argmax(axis=1), 0)
    gap_N = np.where(found_N > 0, history.gaps_s_NL[np.arange(len(found_N)), newest_N], np.nan)
    shares = [(count + 1) / (found_N + 2) for count in taken]
    return np.stack([np.log1p(found_N), *shares, np.log1p(gap_N / 3600)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class PastEvents:
    """Events that may enter a history, sorted by (owner, time).

    Whose they are, when, what was met, and the actions taken, as bit masks.
    """

    owners_M: np.ndarray
    times_us_M: np.ndarray
    keys_M: np.ndarray
    actions_M: np.ndarray

    @classmethod
    def merge(cls, *parts: PastEvents) -> PastEvents:
        """The events of all parts; within a time, in the order of the parts."""
        together = cls(
            np.concatenate([part.owners_M for part in parts]),
            np.concatenate([part.times_us_M for part in parts]),
            np.concatenate([part.keys_M for part in parts]),
            np.concatenate([part.actions_M for part in parts]),
        )
        # stable: within a time, the order given
        return together.keep(np.lexsort((together.times_us_M, together.owners_M)))

    def keep(self, rows: np.ndarray) -> PastEvents:
        return PastEvents(
            self.owners_M[rows], self.times_us_M[rows], self.keys_M[rows], self.actions_M[rows]
        )


def past_events(frame: pl.DataFrame, log: Log, history: History) -> PastEvents:
    """The rows of a cleaned log that enter histories."""
    if history.where is not None:
        frame = frame.filter(pl.col(history.where) == 1)
    actions = np.zeros(len(frame), np.uint8)
    for bit, action in enumerate(history.actions):
        actions |= (frame[action].to_numpy().astype(np.uint8) << bit).astype(np.uint8)
    owners = keys_of(frame[log.entities[history.entity]])
    items = keys_of(frame[log.entities[history.of]])
    return PastEvents(owners, frame[TIME].to_numpy(), items, actions)


def seed_events(history: History) -> PastEvents:
    """The events of the seed table, all before the first day, oldest first."""
    seed = history.seed
    if seed is None:
        no_keys = np.zeros(0, np.uint64)
        return PastEvents(no_keys, np.zeros(0, np.int64), no_keys, np.zeros(0, np.uint8))
    what = f"histories.{history.entity}.seed"
    lists = {seed.ids, *seed.actions.values()}
    frames = [
        collect(scan(file, (seed.key, *lists), what), file, what)
        for file in matching_files((seed.table,), what)
    ]
    frame = pl.concat(frames, how="vertical_relaxed")
    wrong = [column for column in lists if not isinstance(frame.schema[column], pl.List)]
    if wrong:
        raise LogError(f"{what}: {', '.join(sorted(wrong))} should hold lists of ids.")
    flat = frame.select(seed.key, seed.ids).explode(seed.ids).drop_nulls()
    owners, items = keys_of(flat[seed.key]), keys_of(flat[seed.ids])
    actions = np.zeros(len(flat), np.uint8)
    for bit, action in enumerate(history.actions):
        if action in seed.actions:
            acted = frame.select(seed.key, pl.col(seed.actions[action]).alias(seed.ids))
            acted = acted.explode(seed.ids).drop_nulls().unique().with_columns(hit=1)
            on = [seed.key, seed.ids]
            hit = flat.join(acted, on=on, how="left", maintain_order="left")["hit"]
            actions |= (hit.fill_null(0).to_numpy().astype(np.uint8) << bit).astype(np.uint8)
    past = PastEvents(owners, np.full(len(flat), SEED_TIME, np.int64), items, actions)
    return past if history.where is None else past.keep(_acted(past, history))


def _acted(past: PastEvents, history: History) -> np.ndarray:
    """With `where`, a seed counts only where that action was taken.

    All of it counts if the seed does not tell.
    """
    if (
        history.where in history.actions
        and history.seed is not None
        and history.where in history.seed.actions
    ):
        return (past.actions_M >> history.actions.index(history.where)) & 1 == 1
    return np.ones(len(past.owners_M), bool)


def as_of(
    past: PastEvents,
    owners_N: np.ndarray,
    times_us_N: np.ndarray,
    length: int,
    window_us: int | None = None,
    known_after_us: int = 0,
) -> Histories:
    """The last `length` events of each owner strictly before each time, and at least
    `known_after_us` before it.

    But for those of a seed, they are at most `window_us` before it.
    """
    if len(past.owners_M) == 0:
        shape = (len(owners_N), length)
        return Histories(
            np.zeros(shape, np.uint64),
            np.zeros(shape, np.uint8),
            np.full(shape, np.nan, np.float32),
        )
    ends_us_N = known_until(times_us_N, known_after_us)
    oldest_us_N = None if window_us is None else times_us_N - window_us
    spots_NL = _spots(past, owners_N, ends_us_N, length, oldest_us_N)
    present_NL = spots_NL >= 0
    then_NL = past.times_us_M[spots_NL]
    gaps_NL = np.where(
        present_NL & (then_NL != SEED_TIME), (times_us_N[:, None] - then_NL) / 1e6, np.nan
    )
    return Histories(
        np.where(present_NL, past.keys_M[spots_NL], 0).astype(np.uint64),
        np.where(present_NL, past.actions_M[spots_NL], 0).astype(np.uint8),
        gaps_NL.astype(np.float32),
    )


def known_until(times_us_N: np.ndarray, known_after_us: int) -> np.ndarray:
    """Before which moment an event has to lie so that it is known at each time.

    An event that is known at once must lie strictly before the time; one that is known later may be
    known at the very moment.
    """
    if known_after_us == 0:
        return times_us_N
    return np.maximum(times_us_N - known_after_us + 1, SEED_TIME + 1)


def _spots(
    past: PastEvents,
    owners_N: np.ndarray,
    ends_us_N: np.ndarray,
    length: int,
    oldest_us_N: np.ndarray | None,
) -> np.ndarray:
    """Rows [N, L] of the past events that make each history, newest first; -1: none.

    They lie before `ends_us_N` and, but for those of a seed, not before `oldest_us_N`.
    """
    m = len(past.owners_M)
    _, owner_codes = np.unique(np.concatenate([past.owners_M, owners_N]), return_inverse=True)
    every_time = np.concatenate([past.times_us_M, ends_us_N])
    times, time_codes = np.unique(every_time, return_inverse=True)
    stride = np.int64(len(times) + 1)
    # sorted, because `past` is sorted by (owner, time)
    places_M = owner_codes[:m] * stride + time_codes[:m]
    first_N = owner_codes[m:] * stride

    def row_from(codes_N: np.ndarray | np.intp) -> np.ndarray:
        """Row of each owner's first event that is not before the time with that code."""
        return np.searchsorted(places_M, first_N + codes_N, side="left")

    starts_N = np.searchsorted(places_M, first_N, side="left")
    ends_N = row_from(time_codes[m:])
    spots_NL = ends_N[:, None] - 1 - np.arange(length)[None, :]
    if oldest_us_N is not None:
        # of events before the window only those of the seed are left: they come first
        oldest_N = row_from(np.searchsorted(times, oldest_us_N, side="left"))
        oldest_N = np.minimum(oldest_N, ends_N)
        seeded_N = row_from(np.searchsorted(times, SEED_TIME, side="right"))
        between_N = np.maximum(oldest_N - seeded_N, 0)
        spots_NL = np.where(spots_NL < oldest_N[:, None], spots_NL - between_N[:, None], spots_NL)
    return np.where(spots_NL >= starts_N[:, None], spots_NL, -1)
