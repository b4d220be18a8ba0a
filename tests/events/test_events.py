"""Ids, blocks, entity tables, labels as they were known."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from conftest import FIRST, day
from headwater.config import Categorical, MultiCategorical, Numeric, Timestamp, Vector
from headwater.errors import LeakError, LogError, SchemaError
from headwater.events.blocks import BlockSpec
from headwater.events.encoding import context_block, encode
from headwater.events.entities import EntityTable
from headwater.ids import key_of, keys_of
from headwater.schema import Entity

UTC = ZoneInfo("UTC")


def test_an_integer_and_its_text_are_one_id() -> None:
    assert key_of(712) == key_of("712")
    assert key_of("0712") != key_of(712)
    assert key_of(-5) == key_of("-5")
    ints, texts = pl.Series([712, 5, 712], dtype=pl.Int16), pl.Series(["712", "5", "712"])
    assert (
        keys_of(ints).tolist() == keys_of(texts).tolist() == [key_of(712), key_of(5), key_of(712)]
    )
    assert len(np.unique(keys_of(pl.Series(np.arange(100_000))))) == 100_000


def test_features_are_encoded_and_missing_is_a_value_of_its_own() -> None:
    frame = pl.DataFrame(
        {
            "tab": ["a", None, "z"],
            "city": ["x", "y", "x"],
            "tags": ["p, q", "", None],
            "price": [np.e - 1, None, float("nan")],
            "vec": [[1.0, 2.0], None, [3.0, 4.0]],
        }
    )
    features = {
        "tab": Categorical(values=("a", "b")),
        "city": Categorical(buckets=100),
        "tags": MultiCategorical(buckets=50, length=3),
        "price": Numeric(),
        "vec": Vector(width=2),
    }
    block = encode(frame, features, "test", "UTC")
    assert block.categorical_NC[:, 0].tolist() == [2, 0, 1]  # value, missing, other
    city = block.categorical_NC[:, 1]
    assert city[0] == city[2] != city[1]
    assert city.min() >= 1
    assert (block.multi_NK[0] > 0).sum(axis=1).tolist() == [2, 0, 0]
    np.testing.assert_allclose(block.numeric_NF[:, 0], [1.0, np.nan, np.nan])
    np.testing.assert_allclose(block.vectors_ND[0], [[1, 2], [np.nan, np.nan], [3, 4]])
    assert BlockSpec.of(features) == BlockSpec((4, 101), (51,), 1, (2,))


def test_columns_of_the_wrong_kind_are_reported_together() -> None:
    frame = pl.DataFrame({"price": [[1]], "vec": [[1.0, 2.0, 3.0]]})
    with pytest.raises(SchemaError) as caught:
        encode(frame, {"price": Numeric(), "vec": Vector(width=2)}, "items", "UTC")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["price", "vec"]


def test_an_age_is_counted_to_the_day_and_never_foreseen(tmp_path) -> None:
    table = pl.DataFrame({"id": [1, 2], "born": [dt.datetime(2025, 1, 1), dt.datetime(2025, 1, 9)]})
    table.write_parquet(tmp_path / "e.parquet")
    entities = EntityTable(
        Entity("item", (str(tmp_path / "e.parquet"),), "id", {"born": Timestamp()}), UTC
    )
    ages = entities.gather(keys_of(pl.Series([1, 2, 3])), dt.date(2025, 1, 5)).numeric_NF[:, 0]
    np.testing.assert_allclose(
        ages, [np.log1p(4), np.nan, np.nan]
    )  # known; not born yet; unknown entity


def test_context_times_become_cycles_of_the_local_hour() -> None:
    frame = pl.DataFrame(
        {"t": [dt.datetime(2025, 1, 6, 22, tzinfo=dt.UTC)]}
    )  # 06:00 on a Tuesday in Shanghai
    times = np.array([int(dt.datetime(2025, 1, 6, 22, tzinfo=dt.UTC).timestamp()) * 1_000_000])
    block = context_block(
        frame, {"t": Timestamp()}, "log", ZoneInfo("Asia/Shanghai"), dt.date(2025, 1, 7), times
    )
    np.testing.assert_allclose(
        block.numeric_NF[0], [1, 0, np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)], atol=1e-6
    )


def test_an_entity_table_has_one_row_per_id(tmp_path) -> None:
    pl.DataFrame({"id": [1, 1], "x": [0.0, 1.0]}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(LogError, match="1 ids stand twice"):
        EntityTable(Entity("item", (str(tmp_path / "e.parquet"),), "id", {"x": Numeric()}), UTC)


def test_ids_written_as_floats_are_refused_not_silently_unmatched(tmp_path, make_factory) -> None:
    pl.DataFrame({"id": [1.0, 2.0], "x": [0.0, 1.0]}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(LogError, match="holds Float64; ids are"):
        EntityTable(Entity("item", (str(tmp_path / "e.parquet"),), "id", {"x": Numeric()}), UTC)
    factory = make_factory()
    for file in (factory.workspace.root / "world" / "purchases").glob("*.parquet"):
        pl.read_parquet(file).with_columns(pl.col("impression_id").cast(pl.Float64)).write_parquet(
            file
        )
    with pytest.raises(LogError, match="by which labels are joined, holds Float64"):
        factory.run.reader.events.read("impressions", day(0), ("conversion",), known_by=day(2))
    assert encode(
        pl.DataFrame({"p": [1.0, None, 2.5]}), {"p": Categorical(values=(1, 2))}, "t", "UTC"
    ).categorical_NC[:, 0].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    "kind", [Categorical(), Categorical(vocabulary=10), Categorical(values=(1, 2))]
)
def test_integer_categories_are_the_same_in_a_file_that_has_gaps(kind) -> None:
    """pandas writes integers beside a missing one as floats, the missing one as NaN."""

    def slots(values) -> list[int]:
        return (
            encode(pl.DataFrame({"c": values}, strict=False), {"c": kind}, "t", "UTC")
            .categorical_NC[:, 0]
            .tolist()
        )

    one, two, missing = slots([1, 2, None])
    assert missing == 0
    assert slots([1.0, 2.0, None]) == [one, two, 0]
    assert slots([1.0, 2.0, float("nan")]) == [one, two, 0]
    assert slots([1.0, 2.0, 2.5])[:2] == [one, two]
    listed = MultiCategorical(buckets=100)
    whole, gaps = (
        encode(pl.DataFrame({"c": values}), {"c": listed}, "t", "UTC").multi_NK[0]
        for values in ([[1, 2], [3]], [[1.0, 2.0, None], [3.0]])
    )
    np.testing.assert_array_equal(whole, gaps)


def test_numbers_that_cannot_be_held_are_missing_and_text_is_refused() -> None:
    frame = pl.DataFrame({"x": [1e39, -1e300, 2.0]})
    assert np.isnan(
        encode(frame, {"x": Numeric(log=False)}, "t", "UTC").numeric_NF[:, 0]
    ).tolist() == [True, True, False]
    with pytest.raises(
        SchemaError,
        match="x: declared numeric, holds String .expected numbers, received text such as 'red'",
    ):
        encode(pl.DataFrame({"x": ["red", None, "blue"]}), {"x": Numeric()}, "t", "UTC")
    assert (
        encode(
            pl.DataFrame({"x": ["1.5", "", None]}), {"x": Numeric(log=False)}, "t", "UTC"
        ).numeric_NF[0, 0]
        == 1.5
    )


def test_ids_beyond_the_signed_integers_are_ids_too() -> None:
    big = pl.Series([2**63 + 5, 7], dtype=pl.UInt64)
    assert keys_of(big).tolist() == [key_of(str(2**63 + 5)), key_of(7)]


def test_late_labels_are_as_known_and_never_earlier(make_factory, world) -> None:
    factory = make_factory()
    with pytest.raises(LeakError, match="mature after 2 days"):
        factory.run.reader.events.read("impressions", day(0), ("conversion",), known_by=day(1))
    examples = factory.run.reader.events.read(
        "impressions", day(0), ("click", "conversion"), known_by=day(2)
    )
    frame = pl.read_parquet(world / "impressions" / f"{FIRST}.parquet")
    end = dt.datetime.combine(day(3), dt.time(), tzinfo=dt.UTC)
    bought = (
        pl.read_parquet(world / "purchases" / "*.parquet")
        .filter(pl.col("time") < end)["impression_id"]
        .drop_nulls()
    )
    expected = set(
        frame.filter((pl.col("is_click") == 1) & pl.col("impression_id").is_in(bought.implode()))[
            "impression_id"
        ]
    )
    assert np.nansum(examples.labels["conversion"]) == len(expected) > 0
    assert np.isnan(examples.labels["conversion"]).sum() == (examples.labels["click"] == 0).sum()
    later = factory.run.reader.events.read("impressions", day(0), ("conversion",), known_by=day(5))
    np.testing.assert_array_equal(
        later.labels["conversion"], examples.labels["conversion"]
    )  # what came after it matured changes nothing


def test_a_label_of_several_columns_is_one_where_any_is(make_factory) -> None:
    def change(raw: dict) -> None:
        raw["tasks"]["any"] = {"log": "impressions", "label": ["is_click", "is_long_click"]}
        raw["tasks"]["only_long"] = {"log": "impressions", "label": ["is_long_click"]}

    examples = make_factory(change).run.reader.events.read(
        "impressions", day(1), ("click", "any", "only_long"), known_by=day(1)
    )
    clicked, any_of, long = (examples.labels[task] for task in ("click", "any", "only_long"))
    np.testing.assert_array_equal(any_of, np.maximum(clicked, long))
    assert 0 < long.sum() < clicked.sum()


def test_histories_in_examples_hold_only_the_past(make_factory) -> None:
    examples = make_factory().run.reader.events.read(
        "impressions", day(2), ("click",), known_by=day(2)
    )
    gaps = examples.histories["user"].gaps_s_NL
    assert np.nanmin(gaps) > 0
    assert (examples.histories["user"].keys_NL != 0).any(axis=1).mean() > 0.5


def test_kuairand_days_are_cut_by_time_and_duplicates_set_aside(kuairand, tmp_path) -> None:
    from headwater.config import parse_config
    from headwater.factory import Factory
    from headwater.recipes import RECIPES

    factory = Factory(parse_config(RECIPES["kuairand"].config(kuairand, kuairand)), tmp_path)
    events = factory.run.reader.events.logs["feed"].day(dt.date(2022, 4, 25))
    assert (len(events), sum(events.rejected.values())) == (14_639, 259)
    local = events.frame.select(
        pl.from_epoch("time_us", "us")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Shanghai")
        .dt.date()
    )
    assert local.to_series().unique().to_list() == [dt.date(2022, 4, 25)]


def test_the_prehistory_of_kuairand_is_ten_days_of_log(kuairand, tmp_path) -> None:
    from headwater.recipes.kuairand_retrieval import write_prehistory

    write_prehistory(kuairand, tmp_path)
    rows = pl.read_parquet(tmp_path / "prehistory.parquet")
    history = pl.read_parquet(kuairand / "history.parquet")
    assert len(rows) == history["watch_seq"].list.len().sum()
    local = (
        pl.from_epoch("time_ms", "ms")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Shanghai")
        .dt.date()
    )
    assert rows.select(local.min().alias("first"), local.max().alias("last")).row(0) == (
        dt.date(2022, 4, 15),
        dt.date(2022, 4, 24),
    )
    user = history.row(0, named=True)
    mine = rows.filter(pl.col("user_id") == user["user_id"]).sort("time_ms")
    assert mine["video_id"].to_list() == [int(video) for video in user["watch_seq"]]
    assert mine["is_click"].sum() == sum(
        video in user["long_watch_seq"] for video in user["watch_seq"]
    )
