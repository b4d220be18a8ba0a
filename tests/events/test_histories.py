"""Histories as of the event: a fast gather against a slow twin."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.config import HistorySeed
from headwater.events.histories import SEED_TIME, PastEvents, as_of, counters, seed_events
from headwater.ids import key_of
from headwater.schema import History

EVENT = st.tuples(st.integers(1, 4), st.integers(0, 12), st.integers(1, 9), st.integers(0, 3))


def past_of(events) -> PastEvents:
    owners, times, keys, actions = (
        (np.array(column) for column in zip(*events, strict=True)) if events else ([], [], [], [])
    )
    return PastEvents.merge(
        PastEvents(
            np.array(owners, np.uint64),
            np.array(times, np.int64),
            np.array(keys, np.uint64),
            np.array(actions, np.uint8),
        )
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(EVENT, max_size=30),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 13)), min_size=1, max_size=10),
    st.integers(1, 5),
)
def test_history_is_the_last_events_strictly_before(events, queries, length) -> None:
    found = as_of(
        past_of(events),
        np.array([q[0] for q in queries], np.uint64),
        np.array([q[1] for q in queries], np.int64),
        length,
    )
    for row, (owner, when) in enumerate(queries):
        before = sorted(
            [(t, n) for n, (o, t, _, _) in enumerate(events) if o == owner and t < when]
        )
        expected = [events[n] for _, n in reversed(before)][:length]
        assert found.keys_NL[row].tolist() == [e[2] for e in expected] + [0] * (
            length - len(expected)
        )
        assert found.actions_NL[row].tolist() == [e[3] for e in expected] + [0] * (
            length - len(expected)
        )
        assert found.gaps_s_NL[row, : len(expected)].tolist() == [
            np.float32((when - e[1]) / 1e6) for e in expected
        ]


TIME = st.one_of(st.just(SEED_TIME), st.integers(0, 12))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), TIME, st.integers(1, 9), st.integers(0, 3)), max_size=30),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 13)), min_size=1, max_size=10),
    st.integers(1, 5),
    st.integers(0, 6),
)
def test_a_window_is_each_rows_own_and_seeds_lie_in_all(events, queries, length, window) -> None:
    owners, times = (
        np.array([q[0] for q in queries], np.uint64),
        np.array([q[1] for q in queries], np.int64),
    )
    found = as_of(past_of(events), owners, times, length, window)
    for row, (owner, when) in enumerate(queries):
        before = sorted(
            [
                (t, n)
                for n, (o, t, _, _) in enumerate(events)
                if o == owner and t < when and (t == SEED_TIME or t >= when - window)
            ]
        )
        expected = [events[n][2] for _, n in reversed(before)][:length]
        assert found.keys_NL[row].tolist() == expected + [0] * (length - len(expected))
        alone = as_of(past_of(events), owners[[row]], times[[row]], length, window)
        np.testing.assert_array_equal(found.keys_NL[row], alone.keys_NL[0])


def test_the_row_itself_and_its_twins_in_time_are_never_in_their_history() -> None:
    events = [(1, 10, 5, 0), (1, 10, 6, 0), (1, 11, 7, 0)]
    found = as_of(past_of(events), np.array([1, 1], np.uint64), np.array([10, 11], np.int64), 3)
    assert found.keys_NL.tolist() == [[0, 0, 0], [6, 5, 0]]


def test_seed_events_come_first_and_have_no_time(tmp_path) -> None:
    pl.DataFrame({"u": [7], "seen": [[1, 2, 3]], "liked": [[2]]}).write_parquet(
        tmp_path / "seed.parquet"
    )
    seed = HistorySeed(
        table=str(tmp_path / "seed.parquet"), key="u", ids="seen", actions={"like": "liked"}
    )
    history = History("user", "item", "feed", None, ("like",), 5, 30, seed)
    live = PastEvents(
        np.array([key_of(7)], np.uint64),
        np.array([50], np.int64),
        np.array([key_of(4)], np.uint64),
        np.array([0], np.uint8),
    )
    past = PastEvents.merge(seed_events(history), live)
    found = as_of(past, np.array([key_of(7)], np.uint64), np.array([60_000_050], np.int64), 5)
    assert found.keys_NL[0].tolist() == [key_of(4), key_of(3), key_of(2), key_of(1), 0]
    assert found.actions_NL[0].tolist() == [0, 0, 1, 0, 0]
    assert found.gaps_s_NL[0, 0] == 60
    assert np.isnan(found.gaps_s_NL[0, 1:]).all()
    assert past.times_us_M[0] == SEED_TIME
    log_only, full = counters(found, 1, seeded=False)[0], counters(found, 1, seeded=True)[0]
    np.testing.assert_allclose(log_only[:2], [np.log(2), 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(full[:2], [np.log(5), 2 / 6], rtol=1e-6)
