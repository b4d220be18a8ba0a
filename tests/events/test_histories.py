"""Histories as of the event: a fast gather against a slow twin."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conftest
from headwater.config import HistorySeed, parse_config
from headwater.config.base import shaping
from headwater.digests import digest_of
from headwater.errors import ConfigError
from headwater.events.histories import SEED_TIME, PastEvents, as_of, counters, seed_events
from headwater.exports.choices import choose
from headwater.exports.training_set import TrainingSet
from headwater.ids import key_of
from headwater.models.upstream import plans_of
from headwater.schema import History, Schema

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


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), TIME, st.integers(1, 9), st.integers(0, 3)), max_size=30),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 15)), min_size=1, max_size=10),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(1, 14)),
    st.integers(0, 8),
)
def test_an_event_enters_a_history_when_its_actions_are_known(
    events, queries, length, window, known_after
) -> None:
    owners = np.array([q[0] for q in queries], np.uint64)
    times = np.array([q[1] for q in queries], np.int64)
    found = as_of(past_of(events), owners, times, length, window, known_after)
    for row, (owner, when) in enumerate(queries):

        def known(t: int, when: int = when) -> bool:
            if t == SEED_TIME:
                return True
            in_window = window is None or t >= when - window
            return t < when and t + known_after <= when and in_window

        before = sorted(
            [(t, n) for n, (o, t, _, _) in enumerate(events) if o == owner and known(t)]
        )
        expected = [events[n] for _, n in reversed(before)][:length]
        assert [key for key in found.keys_NL[row].tolist() if key] == [e[2] for e in expected]
        assert found.actions_NL[row, : len(expected)].tolist() == [e[3] for e in expected]
        gaps = [np.nan if e[1] == SEED_TIME else np.float32((when - e[1]) / 1e6) for e in expected]
        np.testing.assert_array_equal(
            found.gaps_s_NL[row, : len(expected)], np.array(gaps, np.float32)
        )


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


# ---- known after ---------------------------------------------------------------------------------

HOUR_US = 3_600_000_000


def late(raw, known_after) -> None:
    raw["histories"]["user"]["known_after"] = known_after
    raw["histories"]["user"]["where"] = None
    raw["histories"]["user"]["length"] = 5
    raw["histories"]["user"]["pairs"] = ["id"]


def ours(log: pl.DataFrame, user: int, when_us: int, wait_us: int) -> list[int]:
    """A slow twin: the user's newest five events of the log that are known at a time."""
    own = [
        (time, key_of(ad))
        for time, who, ad in log.iter_rows()
        if who == user and time < when_us and time + wait_us <= when_us
    ]
    return [key for _, key in sorted(own, reverse=True)[:5]]


@pytest.mark.parametrize("known_after", ["6h", 6 * 3600])
def test_every_reader_of_a_history_waits_until_its_actions_are_known(
    make_factory, known_after
) -> None:
    """Rows, counters, pairs, listings and the encoded days that models read, across midnight:
    against a loop over the log.
    """
    factory = make_factory(lambda raw: late(raw, known_after))
    reader, now = factory.workspace.events(), conftest.day(1)
    files = sorted((factory.workspace.root / "world" / "impressions").glob("*.parquet"))
    log = pl.concat([pl.read_parquet(file) for file in files[:2]]).select(
        pl.col("time").dt.epoch("us"), "user_id", "ad_id"
    )
    rows = reader.read("impressions", now, ("click",), known_by=now)
    users = reader.logs["impressions"].day(now).frame["user_id"].to_list()
    encoded = conftest.read_day(factory, now).encoded["impressions", now].examples
    end_us = int(log["time"].max() // (24 * HOUR_US) + 1) * 24 * HOUR_US
    held = over_midnight = 0
    for n in range(0, len(rows), 2):
        when = int(rows.times_us_N[n])
        expected = ours(log, users[n], when, 6 * HOUR_US)
        for found in (rows.histories["user"], encoded.histories["user"]):
            assert [key for key in found.keys_NL[n].tolist() if key] == expected
        events = rows.counters["log"][n, 0]
        assert events == pytest.approx(np.log1p(len(expected)))
        met = expected.count(int(rows.keys["item"][n]))
        assert rows.context.numeric_NF[n, -3] == pytest.approx(np.log1p(met))
        held += len(ours(log, users[n], when, 0)) > len(expected)
        midnight_us = end_us - 24 * HOUR_US
        hidden = log.filter(
            (pl.col("user_id") == users[n])
            & (pl.col("time") < midnight_us)
            & (pl.col("time") > when - 6 * HOUR_US)
        )
        over_midnight += len(hidden) > 0
    assert held > 20
    assert over_midnight > 5  # of yesterday, and not known before today
    own = reader.listing("impressions", "user", now, lambda keys: np.ones(len(keys), bool))
    listed = dict(zip(own.keys_N.tolist(), own.histories["user"].keys_NL.tolist(), strict=True))
    for user in sorted(set(users))[:40]:
        assert [key for key in listed[key_of(user)] if key] == ours(log, user, end_us, 6 * HOUR_US)


def test_training_sets_wait_too(make_factory) -> None:
    factory = make_factory(lambda raw: (late(raw, "6h"), raw.update(downstream={})), ran=1)
    now = conftest.day(0)
    wanted = choose(factory.workspace.config, log="impressions", embeddings=("ctr_user",))
    rows = pl.DataFrame(TrainingSet(factory.workspace, now, now, wanted).reader().read_all())
    log = rows.select(pl.col("time").dt.epoch("us"), "user_id", "ad_id")
    found = rows["user.history.log1p_events"].to_numpy()
    expected = [ours(log, user, when, 6 * HOUR_US) for when, user, _ in log.iter_rows()]
    np.testing.assert_allclose(found, np.log1p([len(past) for past in expected]), rtol=1e-6)
    assert 0 < (found > 0).sum() < len(rows)


def test_an_event_of_tonight_is_known_tomorrow_to_the_microsecond(make_factory) -> None:
    factory = make_factory(lambda raw: late(raw, "1h"))
    root = factory.workspace.root / "world" / "impressions"
    first, second = (root / f"{conftest.day(n)}.parquet" for n in (0, 1))
    midnight = pl.lit(conftest.day(1)).cast(pl.Datetime("us", "UTC"))
    evening = (
        pl.read_parquet(first)
        .tail(1)
        .with_columns(time=midnight - pl.duration(minutes=10), user_id=pl.lit(1, pl.Int64))
    )
    evening.write_parquet(first)
    morning = pl.read_parquet(second).head(3)
    times = [
        midnight + pl.duration(minutes=50) - pl.duration(microseconds=1),
        midnight + pl.duration(minutes=50),
        midnight + pl.duration(minutes=51),
    ]
    morning = pl.concat(
        [
            morning[n : n + 1].with_columns(time=time, user_id=pl.lit(1, pl.Int64))
            for n, time in enumerate(times)
        ]
    )
    morning.write_parquet(second)
    now = conftest.day(1)
    rows = factory.workspace.events().read("impressions", now, ("click",), known_by=now)
    past = rows.histories["user"]
    ad = key_of(evening["ad_id"][0])
    assert past.keys_NL[:, 0].tolist() == [0, ad, ad]
    assert past.gaps_s_NL[1:, 0].tolist() == [3600.0, 3660.0]  # since it happened, not since known


def test_a_duration_is_seconds_or_text_with_its_unit(world) -> None:
    def known_after(value) -> int:
        raw = conftest.tiny_config(world)
        raw["histories"]["user"]["known_after"] = value
        return parse_config(raw).histories["user"].known_after

    spelt = {"90s": 90, "5m": 300, "1h": 3600, "1d": 86_400, 45: 45, "2 h": 7200}
    assert {text: known_after(text) for text in spelt} == spelt
    for wrong in ("5", "1w", "-1s", "soon", -1):
        with pytest.raises(ConfigError, match=r"histories.user.known_after: "):
            known_after(wrong)
    with pytest.raises(ConfigError, match="known_after should be shorter than the 30 days"):
        known_after("30d")


def test_a_history_that_waits_for_nothing_is_what_it_was(world) -> None:
    """Spaces and digests of warehouses from before there was such a setting go on; one that waits
    is of another meaning.
    """
    plain, waits = conftest.tiny_config(world), conftest.tiny_config(world)
    waits["histories"]["user"]["known_after"] = "5m"
    assert "known_after" not in shaping(parse_config(plain).histories["user"])
    assert shaping(parse_config(waits).histories["user"])["known_after"] == 300
    one, other = (parse_config(raw) for raw in (plain, waits))
    signatures = [
        plans_of(config, Schema.from_config(config, world))["ctr"].signature
        for config in (one, other)
    ]
    assert signatures[0] != signatures[1]
    raw = one.model_dump(mode="json")
    before = {"seed": None, "known_after": None}
    meaning = digest_of(
        raw["time_zone"],
        [list(raw["entities"][entity]["features"].items()) for entity in ("user", "item")],
        [list(raw["logs"]["impressions"]["features"].items())],
        [{k: v for k, v in raw["histories"]["user"].items() if k not in before}],
        [raw["tasks"][task] for task in ("click", "long_click")],
    )
    schema = Schema.from_config(one, world)
    assert plans_of(one, schema)["ctr"].detail.meaning == meaning
