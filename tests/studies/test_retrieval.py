"""Retrieval and T8: hand numbers, a world where the vectors must win and one where they cannot,
filters, and no later edition ever.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import ndcg_score

from at import catalog_at, edition_at
from headwater.blobs import Layout
from headwater.config import FactoryConfig, PriorConfig, parse_config
from headwater.console import SILENT
from headwater.embeddings import Snapshot
from headwater.embeddings.daily import Training
from headwater.errors import ConfigError, EntityMissing, ExperimentError, LogError
from headwater.evaluation.table import Table
from headwater.ids import key_of
from headwater.index import counts_of, fold_items, fold_queries, fold_radius, unfold
from headwater.serving.answers import Found
from headwater.serving.reader import Reader
from headwater.store import MAIN, Tombstones
from headwater.store.reports import read_report, write_report
from headwater.studies.retrieval import retrieval_table
from headwater.studies.retrieval.days import RetrievalDay, read_days
from headwater.studies.retrieval.judging import Judge, Wanted
from headwater.studies.retrieval.ours import bias_of, rank_exact, rank_through
from headwater.studies.retrieval.ranking import (
    best_rows,
    hits_of,
    ndcg_shares,
    overlap,
    passing_over,
    places_of,
    recall_shares,
)
from headwater.studies.retrieval.rivals import SETTINGS, implicit_is_here, popular, positives_before
from headwater.workspace import Workspace
from shop import RAW, Shop, after, space_of, vectors_of

needs_implicit = pytest.mark.skipif(
    not implicit_is_here(), reason="implicit is not installed: pip install 'headwater[retrieval]'"
)


def sparse(rows: list[list[int]]) -> csr_array:
    return csr_array(np.array(rows, np.float32))


# ---- ranking -------------------------------------------------------------------------------------


def summed(shares: np.ndarray, queries: np.ndarray, size: int) -> np.ndarray:
    """A metric of each query, of what its wanted items add to it."""
    return np.bincount(queries, weights=shares, minlength=size)


def test_recall_and_ndcg_by_hand() -> None:
    rows = np.array([[3, 0, 2], [1, 2, -1], [0, 1, 2]])
    queries = np.array([0, 0, 0, 1])  # the first wants one more, which has no vector
    columns = np.array([0, 2, -1, 2])
    np.testing.assert_array_equal(
        hits_of(rows, sparse([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])),
        [[False, True, True], [False, True, False], [False, False, False]],
    )
    places = places_of(rows, queries, columns)
    assert places.tolist() == [1, 2, 3, 1]
    wanted = np.array([3, 3, 3, 1])
    np.testing.assert_allclose(summed(recall_shares(places, wanted, 2), queries, 2), [1 / 3, 1])
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    np.testing.assert_allclose(
        summed(ndcg_shares(places, wanted, 3), queries, 2),
        [(second + third) / (1 + second + third), second],
    )
    np.testing.assert_allclose(
        summed(ndcg_shares(places, wanted, 2), queries, 2), [second / (1 + second), second]
    )


def test_ndcg_is_that_of_sklearn() -> None:
    generator = np.random.default_rng(0)
    scores, relevant = (
        generator.random((40, 60)),
        (generator.random((40, 60)) < 0.1).astype(np.float32),
    )
    relevant[:, 0] = 1  # sklearn has no word for a query that wants nothing
    rows = best_rows(lambda some: scores[some], 40, 20)
    queries, columns = relevant.nonzero()
    places = places_of(rows, queries, columns)
    wanted = relevant.sum(axis=1)[queries]
    for k in (1, 5, 20):
        ours = summed(ndcg_shares(places, wanted, k), queries, 40)
        assert ours.mean() == pytest.approx(ndcg_score(relevant, scores, k=k), abs=1e-9)


def test_best_rows_are_those_of_a_sort_and_leave_out_what_they_should() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random((5000, 30)).astype(np.float32)  # more than a chunk
    left_out = csr_array((generator.random((5000, 30)) < 0.3).astype(np.float32))
    found = best_rows(lambda some: scores[some], 5000, 7, left_out)
    kept = np.where(left_out.toarray() > 0, -np.inf, scores)
    np.testing.assert_array_equal(found, np.argsort(-kept, axis=1, kind="stable")[:, :7])
    assert best_rows(
        lambda some: scores[some, :3], 2, 5, sparse([[1, 1, 1], [0, 1, 0]])
    ).tolist() == [
        [-1] * 5,
        [*np.argsort(-np.where([0, 1, 0], -np.inf, scores[1, :3]))[:2].tolist(), -1, -1, -1],
    ]
    assert passing_over(
        np.array([[2, 0, 1], [1, -1, 0]]), sparse([[1, 0, 0], [0, 1, 0]]), 2
    ).tolist() == [[2, 1], [0, -1]]
    assert overlap(np.array([[1, 2], [3, -1]]), np.array([[2, 4], [3, 5]])) == 2 / 4


# ---- popularity in the score ---------------------------------------------------------------------


def test_counts_by_hand() -> None:
    assert counts_of(
        np.array([5, 9, 2], np.uint64), np.array([9, 5, 9, 7, 9], np.uint64)
    ).tolist() == [1, 3, 0]
    assert counts_of(np.array([5], np.uint64), np.zeros(0, np.uint64)).tolist() == [0]


def test_folded_cosines_are_cosine_plus_bias() -> None:
    generator = np.random.default_rng(2)
    items, queries, bias = (
        generator.standard_normal((50, 6)),
        generator.standard_normal((4, 6)),
        generator.random(50) * 3,
    )
    folded, asked = fold_items(items, bias), fold_queries(queries)
    np.testing.assert_allclose(np.linalg.norm(folded, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-6)
    cosines = (
        items
        / np.linalg.norm(items, axis=1, keepdims=True)
        @ (queries / np.linalg.norm(queries, axis=1, keepdims=True)).T
    ).T
    np.testing.assert_allclose(unfold(asked @ folded.T, folded[17]), cosines + bias, atol=1e-5)
    assert fold_radius(np.array([0.0, 3.0])) == pytest.approx(math.sqrt(10))


# ---- intervals -----------------------------------------------------------------------------------


def judge_of(users: np.ndarray, items: np.ndarray, **hits: np.ndarray) -> Judge:
    """Queries that want one item each, which a method has first or not at all."""
    places = {name: np.where(hit, 0, 1) for name, hit in hits.items()}
    days = np.zeros(len(users), np.int64)
    return Judge(
        Wanted(np.arange(len(users)), users, items, days, days == 1, places), confidence=0.95
    )


def test_a_users_queries_and_an_items_come_and_go_together() -> None:
    """200 users of ten equal queries each, or ten times as many; and so of items."""
    hit = np.repeat(np.random.default_rng(3).random(200) < 0.4, 10)
    groups, alone = np.repeat(np.arange(200), 10), np.arange(2000)
    by_user = judge_of(groups, alone, ours=hit).mean("ours", "recall_1")
    by_item = judge_of(alone, groups, ours=hit).mean("ours", "recall_1")
    rowwise = judge_of(alone, alone, ours=hit).mean("ours", "recall_1")
    assert by_user.value == rowwise.value == pytest.approx(hit.mean())
    error = hit.std() / math.sqrt(199)
    assert by_user.high - by_user.low == pytest.approx(2 * 1.972 * error, rel=0.02)
    assert (by_item.low, by_item.high) == pytest.approx((by_user.low, by_user.high))
    assert (by_user.high - by_user.low) / (rowwise.high - rowwise.low) == pytest.approx(
        math.sqrt(10), rel=0.02
    )


def test_a_difference_is_paired_and_says_how_much_would_show_it() -> None:
    generator = np.random.default_rng(4)
    base = generator.random(1000) < 0.5
    better = base | (generator.random(1000) < 0.03)
    other = np.where(generator.random(1000) < 0.03, ~base, base)
    judge = judge_of(np.arange(1000), np.arange(1000), base=base, better=better, other=other)
    shown = judge.difference("better", "base", "recall_1")
    assert 0 < shown.low < shown.value == pytest.approx((better & ~base).mean())
    assert judge.mean("better", "recall_1").low < judge.mean("base", "recall_1").high
    assert shown.needed is None
    unsure = judge.difference("other", "base", "recall_1")
    assert unsure.low < 0 < unsure.high
    error = np.std(other * 1.0 - base) / math.sqrt(999)
    assert unsure.needed == pytest.approx(
        1000 * ((1.96 + 0.8416) * error / unsure.value) ** 2, rel=0.01
    )


def test_what_is_not_wanted_has_no_figure_and_one_item_no_interval() -> None:
    nobody = np.zeros(0, np.int64)
    assert math.isnan(judge_of(nobody, nobody, ours=nobody).mean("ours", "recall_1").value)
    one = judge_of(np.arange(5), np.zeros(5, int), ours=np.arange(5) < 2).mean("ours", "recall_1")
    assert one.value == pytest.approx(0.4)
    assert math.isnan(one.low)


# ---- a planted world -----------------------------------------------------------------------------

USERS, ITEMS, TASTES, WIDTH = 120, 200, 10, 12
DAYS = 4  # 0 to 3; the edition of a day is read on the next


def published(day: dt.date, users: np.ndarray, items: np.ndarray) -> list[Snapshot]:
    space = space_of(WIDTH)
    return [
        vectors_of([f"u{k}" for k in range(USERS)], users, day, "user", space),
        vectors_of([f"i{k}" for k in range(ITEMS)], items, day, "item", space),
    ]


class World:
    """Users with a taste click items of that taste, each day others. Vectors are published by hand:
    `planted` ones know the taste, others do not.
    """

    def __init__(self, root: Path, planted: bool = True, **retrieval: Any) -> None:
        generator = np.random.default_rng(5)
        self.root, self.shop = root, Shop(root)
        self.user_taste, self.item_taste = np.arange(USERS) % TASTES, np.arange(ITEMS) % TASTES
        rows = []
        for n in range(DAYS):
            for user in range(USERS):
                own = np.flatnonzero(self.item_taste == self.user_taste[user])
                clicked = generator.choice(own, 2, replace=False)
                shown = generator.choice(ITEMS, 3, replace=False)
                time = dt.datetime.combine(after(n), dt.time(8), tzinfo=dt.UTC)
                rows += [
                    (
                        time + dt.timedelta(seconds=len(rows)),
                        f"u{user}",
                        f"i{item}",
                        int(item in clicked),
                    )
                    for item in dict.fromkeys([*clicked, *shown])
                ]
        pl.DataFrame(rows, schema=["t", "u", "i", "c"], orient="row").write_parquet(
            root / "feed.parquet"
        )
        pl.DataFrame(
            {
                "i": [f"i{n}" for n in range(ITEMS)],
                "taste": self.item_taste,
                "price": np.arange(ITEMS) / 10,
                "tags": [f"{n % 3}, {n % 7}" for n in range(ITEMS)],
                "shops": [[f"s{n % 4}", "all"] if n % 5 else None for n in range(ITEMS)],
            }
        ).write_parquet(root / "items.parquet")
        directions = np.eye(WIDTH)[:, :TASTES].T
        for n in range(DAYS):
            noise = np.random.default_rng(100 + n)
            users, items = directions[self.user_taste], directions[self.item_taste]
            if not planted:
                users, items = (
                    noise.standard_normal(users.shape),
                    noise.standard_normal(items.shape),
                )
            users, items = (
                users + 0.05 * noise.standard_normal(users.shape),
                items + 0.05 * noise.standard_normal(items.shape),
            )
            self.shop.publish(after(n), published(after(n), users, items))
        self.config = self.configured(**retrieval)

    def configured(self, **retrieval: Any) -> FactoryConfig:
        raw = json.loads(json.dumps(RAW)) | {"warehouse": str(self.root), "retrieval": retrieval}
        raw["entities"]["item"] = {
            "table": "items.parquet",
            "key": "i",
            "features": {"tags": {"kind": "multi_categorical", "separator": ","}},
        }
        return parse_config(raw | {"evaluation": {"start": str(after(2))}})

    def workspace(self, config: FactoryConfig | None = None) -> Workspace:
        return Workspace.of(config or self.config, self.root)

    def reader(self, **retrieval: Any) -> Reader:
        return Reader(self.workspace(self.configured(**retrieval) if retrieval else self.config))

    def table(self, ks: tuple[int, ...] = (10, 50)) -> Table:
        return retrieval_table(self.workspace(), ks, SILENT)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("planted"), prior={"weight": 0.5, "days": 2}, cold_rows=8)


def row_of(table: Table, method: str, items: str = "all") -> Any:
    return next(row for row in table.rows if row["method"] == method and row["items"] == items)


@pytest.fixture(scope="module")
def table_of_planted(planted: World) -> Table:
    return planted.table()


def test_vectors_that_know_the_taste_win(table_of_planted: Table) -> None:
    exact, popularity, random = (
        row_of(table_of_planted, method) for method in ("exact", "popularity", "random")
    )
    assert exact["recall_50"] == 1  # 20 items of a taste, and all of them come first
    assert 0.8 < exact["recall_10"] / (10 / 20) < 1.2
    assert random["recall_50"] == pytest.approx(50 / ITEMS, abs=0.06)
    assert popularity["recall_50"] < 0.5
    assert row_of(table_of_planted, "hnsw")["overlap"] > 0.95
    assert row_of(table_of_planted, "exact + popularity")["difference_low"] > 0
    assert "above" in table_of_planted.answer
    assert "higher on 2 of 2 days" in table_of_planted.answer
    assert Table.from_json(json.loads(json.dumps(table_of_planted.as_json()))) == table_of_planted
    assert (table_of_planted.first_day, table_of_planted.last_day) == (str(after(2)), str(after(3)))


def test_vectors_that_know_nothing_do_not_win(tmp_path) -> None:
    table = World(tmp_path, planted=False).table()
    assert row_of(table, "exact")["recall_50"] == pytest.approx(50 / ITEMS, abs=0.08)
    assert "above" not in table.answer


def recall_of(day: RetrievalDay, rows: np.ndarray, k: int) -> float:
    queries, columns = day.places
    wanted = np.bincount(queries)[queries]
    return float(recall_shares(places_of(rows, queries, columns), wanted, k).sum() / len(day))


def test_warm_and_cold_together_are_all(planted: World, table_of_planted: Table) -> None:
    for day in read_days(planted.workspace()).judged:
        before = [int(np.sum(day.past.items_M == key)) for key in day.wanted.items_M]
        np.testing.assert_array_equal(day.is_cold, np.array(before) < 8)
        assert 0 < day.is_cold.sum() < len(day.wanted)
    assert (
        row_of(table_of_planted, "exact", "cold")["queries"]
        < row_of(table_of_planted, "exact")["queries"]
    )


def test_a_wanted_item_without_a_vector_counts_as_missed(planted: World) -> None:
    day = read_days(planted.workspace()).judged[0]
    few = replace(day, items_N=day.items_N[::2], points_ND=day.points_ND[::2])
    queries, columns = few.places
    assert len(queries) == len(day.wanted)
    assert recall_of(few, rank_exact(few, 100, None), 100) == pytest.approx(
        (columns >= 0).mean(), abs=0.1
    )


def test_a_day_reads_the_edition_of_the_day_before_and_no_row_of_its_own(planted: World) -> None:
    lane = catalog_at(planted.root).lane(MAIN)
    for day in read_days(planted.workspace()).judged:
        yesterday = day.day - dt.timedelta(days=1)
        edition = edition_at(planted.root, lane.get(yesterday))
        np.testing.assert_array_equal(
            day.queries_QD, edition.lookup("ctr_user", day.users_Q, day.day).vectors_ND
        )
        np.testing.assert_array_equal(day.points_ND, edition.points("ctr_item"))
        assert day.past.days_M.max() == yesterday.toordinal()
        assert set(day.wanted.days_M) == {day.day.toordinal()}


def test_later_editions_change_nothing(tmp_path) -> None:
    world = World(tmp_path)
    before = read_days(world.workspace()).judged[0]
    world.shop.publish(
        after(4), published(after(4), np.ones((USERS, WIDTH)), np.ones((ITEMS, WIDTH)))
    )
    world.config = world.config.model_copy(
        update={"evaluation": world.config.evaluation.model_copy(update={"end": after(3)})}
    )
    again = read_days(world.workspace()).judged[0]
    np.testing.assert_array_equal(before.points_ND, again.points_ND)
    np.testing.assert_array_equal(before.queries_QD, again.queries_QD)


def test_through_an_index_is_exact_where_the_index_is(planted: World) -> None:
    for unseen in (False, True):
        data = read_days(planted.workspace(planted.configured(unseen=unseen)))
        day = data.judged[0]
        for bias in (None, bias_of(day, PriorConfig(weight=2.0, days=2))):
            exact, through = rank_exact(day, 10, bias), rank_through("exact", day, 10, bias)
            assert overlap(through, exact) > 0.999
            if day.met is not None:
                assert not hits_of(exact, day.met).any()


def test_popularity_is_of_the_days_before(planted: World) -> None:
    day = read_days(planted.workspace()).judged[1]
    frame = pl.read_parquet(planted.root / "feed.parquet").filter(
        (pl.col("c") == 1) & (pl.col("t").dt.date() == after(2))
    )
    counts = dict(frame["i"].value_counts().iter_rows())
    found = popular(day, 3, 1)[0]
    assert {int(np.expm1(day.popularity(1)[row]).round()) for row in found} == {
        max(counts.values()),
        *sorted(counts.values())[-3:],
    }
    assert day.popularity(1)[found[0]] == pytest.approx(math.log1p(max(counts.values())))


def test_what_is_known_only_later_was_not_met_and_is_not_popular_yet(planted: World) -> None:
    """Events are of 8 in the morning: 16 hours later it is midnight, and they are just known."""
    raw = planted.config.model_dump(mode="json", exclude_unset=True)
    raw["retrieval"]["unseen"] = True

    def waiting(known_after: str) -> Workspace:
        history = {"of": "item", "log": "feed", "known_after": known_after}
        return planted.workspace(parse_config(raw | {"histories": {"user": history}}))

    frame = pl.read_parquet(planted.root / "feed.parquet").with_columns(day=pl.col("t").dt.date())
    for known_after, last in (("15h", after(2)), ("17h", after(1))):
        data = read_days(waiting(known_after))
        day = data.judged[-1]
        assert day.day == after(3)
        assert day.past.days_M.max() == last.toordinal()
        known = frame.filter(pl.col("day") <= last)
        assert len(day.past) == len(known)
        user = int(np.flatnonzero(day.users_Q == key_of("u7"))[0])
        met = {int(day.items_N[n]) for n in day.met[[user]].indices}
        assert met == {key_of(item) for item in known.filter(u="u7")["i"]}
        recent = known.filter((pl.col("c") == 1) & (pl.col("day") >= after(1)))
        assert np.expm1(day.popularity(2)).sum() == pytest.approx(len(recent))
    served = {
        known_after: Reader(waiting(known_after)).retrieve("u7", k=5)
        for known_after in ("15h", "17h")
    }
    plain = Reader(planted.workspace(parse_config(raw))).retrieve("u7", k=5)
    assert served["15h"] == plain
    scores = [[one.score for one in found.items] for found in served.values()]
    assert scores[0] != scores[1]  # of two days of clicks one is not known yet


def test_no_days_and_bad_ks_say_so(planted: World, tmp_path) -> None:
    config = planted.config.model_copy(
        update={
            "evaluation": planted.config.evaluation.model_copy(
                update={"start": after(40), "end": after(50)}
            )
        }
    )
    with pytest.raises(ExperimentError, match="no day from"):
        retrieval_table(planted.workspace(config))
    with pytest.raises(ConfigError, match="ascending"):
        planted.table(ks=(50, 10))


def test_erased_users_are_in_no_figure(planted: World) -> None:
    whole = read_days(planted.workspace()).judged[0]
    gone = Tombstones("", frozenset(), frozenset()).with_keys("user", [key_of("u7")])
    assert key_of("u7") in whole.users_Q
    path = planted.root / "tombstones.json"
    try:
        gone.write(Layout(planted.root))
        without = read_days(planted.workspace()).judged[0]
    finally:
        for file in planted.root.glob("*tombstones*"):
            file.unlink()
    assert key_of("u7") not in without.users_Q
    assert not np.isin(key_of("u7"), without.past.users_M)
    assert not path.exists()


@needs_implicit
def test_factorisations_learn_the_taste_too(planted: World) -> None:
    day = read_days(planted.workspace()).judged[-1]
    people, items, matrix = positives_before(day, 1.0)
    assert matrix.sum() == len(
        np.unique(np.stack([day.past.positives.users_M, day.past.positives.items_M]), axis=1).T
    )
    assert (len(people), len(items)) == matrix.shape
    for setting in (SETTINGS["ALS"][0], SETTINGS["BPR"][0]):
        rows = setting.fit(day, day.popularity(None)).rank(50)
        assert recall_of(day, rows, 50) > 0.6
        np.testing.assert_array_equal(rows, setting.fit(day, day.popularity(None)).rank(50))
    stranger = replace(day, users_Q=np.sort(np.append(day.users_Q[1:], np.uint64(1))))
    assert (
        SETTINGS["ALS"][0].fit(stranger, day.popularity(None)).rank(5)[0].tolist()
        == popular(stranger, 5, None)[0].tolist()
    )
    fitted = SETTINGS["ALS"][0].fit(day, day.popularity(None))
    np.testing.assert_array_equal(
        day.popularity(None)[fitted.rank(5, 1000 * day.popularity(None))[0]],
        np.sort(day.popularity(None))[::-1][:5],
    )


def test_what_may_not_be_retrieved_is_not_wanted(planted: World) -> None:
    """With `unseen`, a click on an item that the user had met before can be answered by no method:
    perfect answers have a recall of 1.
    """
    every, new = (
        read_days(planted.workspace(planted.configured(unseen=unseen))).judged
        for unseen in (False, True)
    )
    for day, of_new in zip(every, new, strict=True):
        met = set(zip(day.past.users_M.tolist(), day.past.items_M.tolist(), strict=True))
        wanted = list(zip(day.wanted.users_M.tolist(), day.wanted.items_M.tolist(), strict=True))
        kept = list(
            zip(of_new.wanted.users_M.tolist(), of_new.wanted.items_M.tolist(), strict=True)
        )
        assert kept == [pair for pair in wanted if pair not in met]
        assert of_new.met_before == len(wanted) - len(kept) > 0
        assert len(of_new) == len({user for user, _ in kept})
        queries, columns = of_new.places
        scores = np.zeros((len(of_new), len(of_new.items_N)), np.float32)
        scores[queries, columns] = 1
        perfect = best_rows(lambda some, s=scores: s[some], len(of_new), 50, of_new.met)
        assert recall_of(of_new, perfect, 50) == 1


# ---- filters -------------------------------------------------------------------------------------


def ids(found: Found) -> list[int | str]:
    return found.ids


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_filters_by_hand(planted: World, kind: str) -> None:
    config = planted.configured().model_copy(
        update={"index": planted.config.index.model_copy(update={"kind": kind})}
    )
    reader = Reader(planted.workspace(config))
    tagged = [n for n in range(ITEMS) if 2 in (n % 3, n % 7)]
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"where": ["taste=3"]}, [n for n in range(ITEMS) if n % 10 == 3]),
        ({"where": ["taste=3", "taste=4"]}, [n for n in range(ITEMS) if n % 10 in (3, 4)]),
        ({"where": ["taste!=3", "price<=2"]}, [n for n in range(ITEMS) if n % 10 != 3 and n <= 20]),
        ({"where": ["price>1.05", "price<1.45"]}, [11, 12, 13, 14]),
        ({"where": ["tags=2"]}, tagged),
        ({"where": ["shops=s1"]}, [n for n in range(ITEMS) if n % 5 and n % 4 == 1]),
        ({"where": ["shops!=s1"]}, [n for n in range(ITEMS) if n % 5 and n % 4 != 1]),
        ({"exclude": ["i5", "i15", "nobody"]}, [n for n in range(ITEMS) if n not in (5, 15)]),
        ({"only": ["i5", "i6", "i7", "nobody"], "exclude": ["i6"]}, [5, 7]),
        ({"where": ["taste=99"]}, []),
        ({"only": []}, []),
    ]
    for arguments, expected in cases:
        assert set(ids(reader.retrieve("u5", ITEMS, **arguments))) == {f"i{n}" for n in expected}, (
            arguments
        )
        few = reader.retrieve("u5", 4, **arguments)
        assert len(few.items) == min(4, len(expected))
        everything = {item.id: item.score for item in reader.retrieve("u5", ITEMS).items}
        best = sorted((everything[f"i{n}"] for n in expected), reverse=True)[:4]
        np.testing.assert_allclose([item.score for item in few.items], best, atol=1e-5)


def test_unseen_leaves_out_what_the_log_shows_of_the_user(planted: World) -> None:
    frame = pl.read_parquet(planted.root / "feed.parquet").filter(pl.col("u") == "u5")
    found = ids(planted.reader().retrieve("u5", ITEMS, unseen=True))
    assert set(found) == {f"i{n}" for n in range(ITEMS)} - set(frame["i"])


def test_popularity_counts_in_what_is_retrieved(planted: World) -> None:
    plain = {
        item.id: item.score for item in planted.reader(upstream="ctr").retrieve("u5", ITEMS).items
    }
    frame = pl.read_parquet(planted.root / "feed.parquet").filter(
        (pl.col("c") == 1) & (pl.col("t").dt.date() >= after(2))
    )
    counts = dict(frame["i"].value_counts().iter_rows())
    reader = planted.reader(prior={"weight": 0.5, "days": 2})
    for found in (reader.retrieve("u5", ITEMS), reader.retrieve("u5", 10, where=["taste=3"])):
        for item in found.items:
            assert item.score == pytest.approx(
                plain[item.id] / 0.1 + 0.5 * math.log1p(counts.get(item.id, 0)), abs=2e-4
            )
    scores = [item.score for item in reader.retrieve("u5", ITEMS).items]
    assert scores == sorted(scores, reverse=True)
    (planted.root / "feed.parquet").rename(
        planted.root / "away"
    )  # once built, the index does not need the log
    try:
        assert [item.score for item in reader.retrieve("u5", ITEMS).items] == scores
        with pytest.raises(LogError, match="no file matches"):
            planted.reader(prior={"weight": 0.7, "days": 2}).retrieve("u5")
    finally:
        (planted.root / "away").rename(planted.root / "feed.parquet")


def test_a_temperature_that_was_learnt_is_the_one_of_the_score(tmp_path) -> None:
    world = World(tmp_path, prior={"weight": 0.5, "days": 2})
    plain = {item.id: item.score for item in world.reader(upstream="ctr").retrieve("u5", 9).items}
    before = read_days(world.workspace()).judged[-1]
    for entry in world.workspace().chain().days:
        folder = edition_at(world.root, entry).folder
        report = read_report(folder)
        assert report is not None
        learnt = {"ctr": Training(loss=0.1, steps=1, total_steps=1, temperature=0.04)}
        write_report(folder, replace(report, upstream=learnt))
    with_prior = {item.id: item.score for item in world.reader().retrieve("u5", ITEMS).items}
    without = {
        item.id: item.score
        for item in world.reader(prior={"weight": 1e-9, "days": 2}).retrieve("u5", ITEMS).items
    }
    for item, cosine in plain.items():
        assert without[item] == pytest.approx(cosine / 0.04, abs=2e-3)
        assert with_prior[item] >= without[item] - 2e-3
    day = read_days(world.workspace()).judged[-1]
    assert (before.temperature, day.temperature) == (0.1, 0.04)
    prior = PriorConfig(weight=2.0, days=2)
    np.testing.assert_allclose(bias_of(day, prior), 0.4 * bias_of(before, prior), rtol=1e-6)


def test_bad_filters_and_strangers_are_refused(planted: World) -> None:
    reader = planted.reader(upstream="ctr")
    with pytest.raises(ConfigError, match="expected COLUMN=VALUE"):
        reader.retrieve("u5", where=["taste"])
    with pytest.raises(LogError, match="no column 'colour'"):
        reader.retrieve("u5", where=["colour=red"])
    with pytest.raises(ConfigError, match="holds numbers"):
        reader.retrieve("u5", where=["price<cheap"])
    with pytest.raises(EntityMissing):
        reader.retrieve("nobody", where=["taste=3"])
    with pytest.raises(ConfigError, match="has no table"):
        Shop(planted.root).reader.retrieve("u5", where=["taste=3"])


def test_a_task_whose_labels_come_late_cannot_be_retrieved_for() -> None:
    raw = json.loads(json.dumps(RAW))
    raw["tasks"]["buy"] = {"log": "feed", "label": "b", "matures_days": 3}
    with pytest.raises(ConfigError, match=r"retrieval.task: the labels of 'buy' arrive late"):
        parse_config(raw | {"retrieval": {"task": "buy"}})
    with pytest.raises(ConfigError, match="retrieval.upstream: no upstream named 'x'"):
        parse_config(raw | {"retrieval": {"upstream": "x"}})
    plain = parse_config(raw)
    assert plain.retrieval_task() == "click"
    assert (
        parse_config(raw | {"retrieval": {"cold_rows": 3, "prior": {}}}).digest() == plain.digest()
    )
