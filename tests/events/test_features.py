"""Feature kinds by known answers: what is encoded, what a model fits on past days, and that missing
has a meaning of its own.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from conftest import day, derm_days, read_day, tiny_config
from headwater.config import parse_config
from headwater.errors import ConfigError
from headwater.events.blocks import BlockSpec
from headwater.events.encoding import codes, context_block, encode
from headwater.events.histories import Histories, pair_numbers
from headwater.events.moments import MISSING_MOMENT
from headwater.factory import Factory
from headwater.ids import hash_values
from headwater.models.upstream.derm.learning import fit_day
from headwater.nn import FeatureTensors, FeatureTokens, RunningNorm, Vocabulary
from headwater.schema import Categorical, MultiCategorical, Numeric, Timestamp

ROOT = Path(__file__).parent.parent.parent
UTC = ZoneInfo("UTC")
HOUR, DAY_US = 3_600_000_000, 86_400_000_000


# ---- vocabularies --------------------------------------------------------------------------------


def test_a_vocabulary_gives_frequent_new_values_the_next_slots_day_by_day() -> None:
    words = Vocabulary(size=3, min_count=2)
    assert words(torch.tensor([0, 5, 9])).tolist() == [0, 1, 1]  # missing; not known
    words.observe(torch.tensor([9, 5, 9, 5]))
    words.observe(torch.tensor([5, 7, 0, 0]))  # one day in two pieces: 5 thrice, 9 twice, 7 once
    words.learn()
    assert words(torch.tensor([[5, 9], [7, 0]])).tolist() == [[2, 3], [1, 0]]
    words.observe(
        torch.tensor([7, 7, -4, -4, -4, 5])
    )  # one slot is left: the more frequent takes it, and hashes may be negative
    words.learn()
    assert words(torch.tensor([5, 9, -4, 7, 0])).tolist() == [2, 3, 4, 1, 0]
    words.observe(torch.tensor([7] * 9))
    words.learn()
    assert words(torch.tensor([7])).tolist() == [1]  # full
    again = Vocabulary(size=3, min_count=2)
    again.load_state_dict(words.state_dict())
    assert again(torch.tensor([5, 9, -4, 7])).tolist() == [2, 3, 4, 1]


def test_a_learned_vocabulary_comes_as_hashes_and_has_two_slots_more() -> None:
    features = {"a": Categorical(buckets=4), "b": Categorical(vocabulary=10, min_count=3)}
    assert BlockSpec.of(features) == BlockSpec((5, 12), (), 0, (), learned=((1, 3),))
    block = encode(pl.DataFrame({"a": ["x", None], "b": ["y", None]}), features, "table", "UTC")
    assert block.categorical_NC[:, 1].tolist() == [
        int(hash_values(pl.Series(["y"]), seed=0).view(np.int64)[0]),
        0,
    ]


def test_a_value_that_pieces_of_a_day_hold_once_each_is_counted_over_the_day() -> None:
    words = Vocabulary(size=3, min_count=2)
    for _ in range(2):
        words.observe(torch.tensor([7, 8]))
    words.observe(torch.tensor([8]))
    words.learn()
    assert words(torch.tensor([8, 7])).tolist() == [2, 3]
    words.observe(torch.tensor([4]))
    words.learn()
    words.observe(torch.tensor([4]))  # another day: once again, not twice
    words.learn()
    assert words(torch.tensor([4])).tolist() == [1]


def test_booleans_are_values_as_a_column_of_booleans_spells_them() -> None:
    kind = Categorical(values=[True, False])
    assert encode(pl.DataFrame({"b": [True, False, None]}), {"b": kind}, "t", "UTC").categorical_NC[
        :, 0
    ].tolist() == [2, 3, 0]
    with pytest.raises(ValueError, match="each may be named once"):
        Categorical(values=("a", "a"))
    with pytest.raises(ValueError, match="at least 1 item"):
        Categorical(values=())


def test_small_numbers_are_scaled_too_and_a_constant_is_no_noise() -> None:
    norm, small = RunningNorm(2), torch.linspace(0, 1e-4, 101)
    norm.observe(torch.stack([small, torch.full((101,), 1e6)], dim=1))
    assert norm.scaled(torch.tensor([[1e-4, 1e6]]))[0].tolist() == pytest.approx(
        [3**0.5, 0], abs=0.05
    )


def test_values_and_vocabulary_are_two_ways() -> None:
    with pytest.raises(ValueError, match="set one of them"):
        Categorical(values=("a",), vocabulary=3)


# ---- numbers -------------------------------------------------------------------------------------


def test_infinite_numbers_do_not_spoil_a_scale() -> None:
    norm, calm = RunningNorm(1), RunningNorm(1)
    rows = torch.linspace(-1, 1, 101)[:, None]
    calm.observe(rows)
    norm.observe(torch.cat([rows, torch.tensor([[torch.inf], [-torch.inf], [torch.nan]])]))
    asked = torch.tensor([[0.5], [torch.inf], [torch.nan]])
    assert norm.scaled(asked)[:, 0].tolist() == [calm.scaled(asked)[0, 0].item(), 5, 0]


def test_a_number_read_by_rank_leaves_the_others_and_the_flags_as_they_are() -> None:
    features = {"a": Numeric(log=False), "b": Numeric(log=False, scale="quantile")}
    spec = BlockSpec.of(features)
    assert spec.ranked == (1,)
    tokens = FeatureTokens((), (), 2, (), 4, quantiles=spec.ranked)
    x = torch.stack([torch.linspace(-1, 1, 101), torch.linspace(-1, 1, 101) ** 3], dim=1)
    tokens.observe(FeatureTensors(torch.zeros(101, 0, dtype=torch.long), (), x, ()))
    tokens.learn()
    numbers = tokens._numbers(torch.tensor([[1.0, 1.0], [float("nan"), float("nan")]]))
    np.testing.assert_allclose(
        numbers.numpy(),
        [[1 / x[:, 0].std(correction=0), 12**0.5 * 0.495, 0, 0], [0, 0, 1, 1]],
        atol=0.02,
    )


# ---- moments -------------------------------------------------------------------------------------


def test_a_moment_of_an_entity_as_age_recency_and_cycles(tmp_path) -> None:
    from headwater.events.entities import EntityTable
    from headwater.ids import keys_of
    from headwater.schema import Entity

    at = dt.datetime(2025, 1, 4, 6, tzinfo=dt.UTC)  # a Saturday
    pl.DataFrame(
        {"id": [1, 2, 3], "t": [at, dt.datetime(2025, 1, 6, 3, tzinfo=dt.UTC), None]}
    ).write_parquet(tmp_path / "e.parquet")
    kind = Timestamp(read=("age", "recency", "cycles"))
    table = EntityTable(Entity("item", (str(tmp_path / "e.parquet"),), "id", {"t": kind}), UTC)
    event = int(dt.datetime(2025, 1, 6, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000
    found = table.gather(
        keys_of(pl.Series([1, 2, 3])), dt.date(2025, 1, 6), np.full(3, event)
    ).numeric_NF
    turn = 2 * np.pi * np.array([6 / 24, 6 / 24, 5 / 7, 5 / 7])
    waves = [np.sin(turn[0]), np.cos(turn[1]), np.sin(turn[2]), np.cos(turn[3])]
    np.testing.assert_allclose(found[0], [np.log1p(1), np.log1p(54), *waves], rtol=1e-5, atol=1e-6)
    # a table may not have known at noon what happened that night: no age, no recency, no hour
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).all()
    assert BlockSpec.of({"t": kind}).numeric == 6


def test_a_moment_of_a_row_is_read_relative_to_the_event_and_never_from_after_it() -> None:
    now = int(dt.datetime(2025, 1, 6, 12, tzinfo=dt.UTC).timestamp()) * 1_000_000
    frame = pl.DataFrame({"last_visit": [now - 5 * HOUR, now + HOUR, None]}).with_columns(
        pl.col("last_visit").cast(pl.Datetime("us", "UTC"))
    )
    block = context_block(
        frame,
        {"last_visit": Timestamp(read=("recency",))},
        "log",
        UTC,
        dt.date(2025, 1, 6),
        np.full(3, now),
    )
    np.testing.assert_allclose(block.numeric_NF, [[np.log1p(5)], [np.nan], [np.nan]], rtol=1e-6)
    assert MISSING_MOMENT < 0


# ---- missing -------------------------------------------------------------------------------------


def test_missing_is_a_token_of_its_own_for_every_kind() -> None:
    torch.manual_seed(0)
    tokens = FeatureTokens([3], [4], 1, [2], width=3).eval()
    tokens.no_vector.data.fill_(0.7)
    zero = FeatureTensors(
        torch.tensor([[1]]), (torch.tensor([[1, 0]]),), torch.zeros(1, 1), (torch.zeros(1, 2),)
    )
    none = FeatureTensors(
        torch.tensor([[0]]),
        (torch.tensor([[0, 0]]),),
        torch.full((1, 1), float("nan")),
        (torch.full((1, 2), float("nan")),),
    )
    tokens.observe(
        FeatureTensors(
            torch.tensor([[1]] * 3),
            (torch.ones(3, 2, dtype=torch.long),),
            torch.tensor([[-1.0], [0], [1]]),
            (torch.zeros(3, 2),),
        )
    )
    there, missing = tokens(zero)[0], tokens(none)[0]
    assert all(not torch.allclose(a, b) for a, b in zip(there, missing, strict=True))
    torch.testing.assert_close(missing[0], tokens.table.weight[0])
    torch.testing.assert_close(missing[1], tokens.table.weight[3])
    assert missing[2].tolist() == pytest.approx([0.7] * 3)


# ---- pairs ---------------------------------------------------------------------------------------


def test_pair_numbers_by_hand() -> None:
    nan = float("nan")
    history = Histories(
        np.array([[7, 8, 7], [8, 0, 0], [0, 0, 0]], np.uint64),
        np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0]], np.uint8),
        np.array([[7200, 9000, nan], [nan, nan, nan], [nan, nan, nan]], np.float32),
    )
    own = np.array(
        [[11, 12], [11, 0], [0, 0]]
    )  # codes of the row's own item; 0 is no value, and shares nothing
    past = np.array(
        [[[11, 0], [13, 0], [12, 13]], [[13, 0], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]]
    )
    found = pair_numbers(history, 1, own, past)
    np.testing.assert_allclose(
        found[0], [np.log1p(2), 2 / 4, np.log1p(2)], rtol=1e-6
    )  # two of three events, one acted on, two hours ago
    np.testing.assert_allclose(found[1:], [[0, 0.5, nan], [0, 0.5, nan]])


def test_codes_are_equal_where_values_are_whatever_the_buckets() -> None:
    found = codes(pl.Series(["a", None, "b", "a"]), Categorical(buckets=1))[:, 0]
    assert found[0] == found[3] != found[2] != 0
    assert found[1] == 0
    several = codes(pl.Series(["b, a", "", None]), MultiCategorical(buckets=1, length=3))
    assert several[0, :2].tolist() == [found[2], found[0]]
    assert not several[1:].any()


def test_pairs_reach_the_context_and_know_nothing_of_the_row_itself_or_later(make_factory) -> None:
    def change(raw) -> None:
        raw["histories"]["user"]["pairs"] = ["id", "category"]

    plain, paired = make_factory(), make_factory(change)
    rows = {
        name: read_day(factory, day(1)).encoded["impressions", day(1)].examples
        for name, factory in (("plain", plain), ("paired", paired))
    }
    extra = rows["paired"].context.numeric_NF[:, rows["plain"].context.numeric_NF.shape[1] :]
    assert (
        extra.shape[1]
        == 2 * 3
        == paired.run.reader.events.specs("impressions")["context"].numeric
        - plain.run.reader.events.specs("impressions")["context"].numeric
    )
    frame = pl.concat(
        [
            factory_day.frame
            for factory_day in (
                paired.run.reader.events.logs["impressions"].day(day(n)) for n in (0, 1)
            )
        ]
    )
    items = pl.read_parquet(paired.workspace.root / "world" / "items.parquet").select(
        "ad_id", "category"
    )
    frame = frame.join(items, on="ad_id", how="left", maintain_order="left")
    today = frame.filter(pl.col("time_us") >= int(rows["paired"].times_us_N[0]))
    for row in range(0, len(today), 7):  # the slow twin
        now = today.row(row, named=True)
        past = frame.filter(
            (pl.col("user_id") == now["user_id"])
            & (pl.col("time_us") < now["time_us"])
            & (pl.col("is_click") == 1)
        ).tail(30)
        alike = [
            past.filter(pl.col("ad_id") == now["ad_id"]),
            past.filter(pl.col("category") == now["category"]),
        ]
        expected = [
            np.log1p(len(alike[0])),
            (alike[0]["is_long_click"].sum() + 1) / (len(alike[0]) + 2),
            np.log1p(len(alike[1])),
            (alike[1]["is_long_click"].sum() + 1) / (len(alike[1]) + 2),
        ]
        np.testing.assert_allclose(extra[row, [0, 1, 3, 4]], expected, rtol=1e-5)
    assert (extra[:, 3] > 0).any()


def test_pairs_name_categorical_features(make_factory) -> None:
    def change(raw) -> None:
        raw["histories"]["user"]["pairs"] = ["id", "price"]

    with pytest.raises(
        ConfigError,
        match=(
            r"histories.user.pairs: no categorical feature of 'item' named 'price'; declared: id,"
            r" advertiser"
        ),
    ):
        make_factory(change)


# ---- the page ------------------------------------------------------------------------------------


def merged(raw, change):
    """`change` laid over `raw`, key by key."""
    if not (isinstance(raw, dict) and isinstance(change, dict)):
        return change
    return {**raw, **{key: merged(raw.get(key), value) for key, value in change.items()}}


BLOCKS = re.findall(
    r"^```yaml\n(.*?)^```",
    (ROOT / "docs" / "upstream.md").read_text(),
    flags=re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(
    "block", BLOCKS, ids=[yaml.safe_load(block).__str__()[:40] for block in BLOCKS]
)
def test_every_setting_on_the_upstream_page_trains(tmp_path, world, block) -> None:
    raw = tiny_config(world)
    raw["downstream"], raw["upstreams"] = {}, {"ctr": raw["upstreams"]["ctr"]}
    factory = Factory(parse_config(merged(copy.deepcopy(raw), yaml.safe_load(block))), tmp_path)
    (task,) = derm_days(factory, read_day(factory, day(0))).values()
    fit_day(task)
    assert (task.folder / "model.json").is_file()


def test_the_page_shows_every_setting_of_an_upstream() -> None:
    from headwater.config import UpstreamConfig

    page = (ROOT / "docs" / "upstream.md").read_text()
    usual = {
        "seed",
        "epochs",
        "learning_rate",
        "id_learning_rate",
        "weight_decay",
        "dropout",
        "id_buckets",
        "token_width",
        "tokens",
        "hidden",
        "batch_rows",
    }
    assert [
        name
        for name in UpstreamConfig.model_fields
        if name not in usual and not re.search(rf"\b{name}\b", page)
    ] == []
    assert len(BLOCKS) >= 6
