"""factory.yaml: all faults at once, each with its path."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from headwater.config import FactoryConfig, load_config, parse_config
from headwater.errors import ConfigError

GOOD = {
    "name": "shop",
    "logs": {
        "feed": {
            "path": "feed.parquet",
            "time": "ts",
            "entities": {"user": "u", "item": "i"},
            "features": {"tab": "categorical"},
        }
    },
    "entities": {"user": {}, "item": {}},
    "tasks": {"click": {"log": "feed", "label": "clicked"}},
    "upstreams": {"ctr": {"tasks": ["click"]}},
}


def test_a_good_config_is_accepted_and_frozen() -> None:
    config = parse_config(GOOD)
    assert config.lifecycle.policy.weight == 0.8
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


def test_five_faults_are_all_reported_with_their_paths() -> None:
    raw = copy.deepcopy(GOOD)
    raw["logs"]["feed"]["features"]["tab"] = "catgorical"  # 1: an unknown kind
    raw["tasks"]["click"]["log"] = "fed"  # 2: a name that points nowhere
    raw["lifecycle"] = {"policy": {"kind": "ema", "weight": 1.5}}  # 3: out of range
    raw["upstreams"]["ctr"]["sise"] = "small"  # 4: an unknown key
    raw["time_zone"] = "Mars/Olympus"  # 5: no such zone
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    assert len(caught.value.problems) == 5
    for path in (
        "logs.feed.features.tab",
        "tasks.click.log",
        "lifecycle.policy.ema.weight",
        "upstreams.ctr.sise",
        "time_zone",
    ):
        assert any(
            problem.startswith(f"{path.replace('.ema', '')}:") or problem.startswith(f"{path}:")
            for problem in caught.value.problems
        ), path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda raw: raw["logs"]["feed"]["entities"].update(shop="s"), "logs.feed.entities.shop"),
        (
            lambda raw: raw.update(histories={"user": {"of": "ad", "log": "feed"}}),
            "histories.user.of",
        ),
        (
            lambda raw: raw["tasks"].update(buy={"log": "feed", "label": "b", "given": "clik"}),
            "tasks.buy.given",
        ),
        (
            lambda raw: raw.update(
                downstream={"ctr": {"task": "click", "variants": ["none", "ctr_usr"]}}
            ),
            "downstream.ctr.variants",
        ),
        (
            lambda raw: raw.update(downstream={"ctr": {"task": "click", "variants": ["all"]}}),
            "downstream.ctr.variants",
        ),
        (lambda raw: raw["entities"]["user"].update(table="users.parquet"), "entities.user.key"),
        (lambda raw: raw.update(store={"buckets": 3}), "store.buckets"),
        (
            lambda raw: raw.update(evaluation={"start": "2025-02-01", "end": "2025-01-01"}),
            "evaluation",
        ),
        (lambda raw: raw.update(downstream={"../../x": {"task": "click"}}), "downstream.../../x"),
        (
            lambda raw: raw.update(downstream={"ctr": {"task": "click", "seeds": [0, 0]}}),
            "downstream.ctr.seeds",
        ),
        # a label that matures later, held by a history, would be known too early
        (
            lambda raw: (
                raw["tasks"].update(buy={"log": "feed", "label": "bought", "matures_days": 3}),
                raw.update(
                    histories={"user": {"of": "item", "log": "feed", "actions": ["bought"]}}
                ),
            ),
            "histories.user",
        ),
    ],
)
def test_broken_references_are_named(change, path) -> None:
    raw = copy.deepcopy(GOOD)
    change(raw)
    with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
        parse_config(raw)


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "factory.yaml"
    path.write_text("name: a\nname: b\n")
    with pytest.raises(ConfigError, match="written twice"):
        load_config(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="headwater init"):
        load_config(tmp_path / "factory.yaml")


def test_the_digest_follows_what_shapes_results_and_nothing_else() -> None:
    base = parse_config(GOOD).digest()
    moved = copy.deepcopy(GOOD) | {"name": "other", "warehouse": "/elsewhere", "workers": 7}
    moved["logs"]["feed"]["path"] = "/mnt/feed.parquet"
    assert parse_config(moved).digest() == base
    assert parse_config(GOOD | {"seed": 1}).digest() != base


@pytest.mark.parametrize(
    ("consumer", "said"),
    [
        ({"also": {"clik": 1.0}}, "downstream.ctr.also.clik: no task named 'clik'"),
        ({"also": {"click": 1.0}}, "downstream.ctr.also.click: is the consumer's own task"),
        (
            {"also": {"late": 1.0}},
            "downstream.ctr.also.late: matures after 3 days, later than the consumer's own task",
        ),
        ({"also": {"bought": 0.0}}, "downstream.ctr.also.bought"),
        ({"sequence": {"heads": 3}}, "feature_width 8 should be a multiple of sequence.heads 3"),
        (
            {"variants": ["none", "all-ctr_usr"]},
            "variant 'all-ctr_usr': no embedding named 'ctr_usr'",
        ),
    ],
)
def test_a_consumer_s_faults_are_named(consumer, said) -> None:
    raw = copy.deepcopy(GOOD)
    raw["tasks"] |= {
        "late": {"log": "feed", "label": "bought", "matures_days": 3},
        "bought": {"log": "feed", "label": "bought"},
    }
    raw["downstream"] = {"ctr": {"task": "click"} | consumer}
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_config(raw)


def test_a_late_label_of_several_columns_may_not_enter_a_history() -> None:
    raw = copy.deepcopy(GOOD)
    raw["tasks"]["late"] = {"log": "feed", "label": ["liked", "bought"], "matures_days": 3}
    raw["histories"] = {"user": {"of": "item", "log": "feed", "actions": ["bought"]}}
    with pytest.raises(
        ConfigError, match="'bought' is the label of the task 'late', which matures later"
    ):
        parse_config(raw)


# ---- variants that are compared where none are named ---------------------------------------------

POPULARITY = {"kind": "strangers:Popularity", "tasks": ["click"], "entities": ["item"]}


@pytest.mark.parametrize(
    ("upstreams", "variants"),
    [
        ({"clicks_2": {"tasks": ["click"]}}, ["none", "clicks_2_user", "all", "shuffled"]),
        (
            {"visits": {"tasks": ["buy"]}, "ctr": {"tasks": ["click"]}},
            [
                "none",
                "visits_user",
                "visits_user+visits_item",
                "ctr_user+ctr_item",
                "all",
                "shuffled",
            ],
        ),
        ({"hot": POPULARITY}, ["none", "all", "shuffled"]),
        (
            {"hot": POPULARITY, "ctr": {"tasks": ["click"]}},
            ["none", "ctr_user", "hot_item", "ctr_user+ctr_item", "all", "shuffled"],
        ),
    ],
    ids=["one", "two", "items only", "items only, and another"],
)
def test_default_variants_are_those_of_the_upstreams_there_are(upstreams, variants) -> None:
    raw = copy.deepcopy(GOOD) | {"upstreams": upstreams, "downstream": {"ctr": {"task": "click"}}}
    raw["tasks"]["buy"] = {"log": "feed", "label": "bought"}
    assert parse_config(raw).downstream["ctr"].variants == tuple(variants)


def test_default_variants_of_a_lane_are_those_of_its_own_upstreams() -> None:
    raw = copy.deepcopy(GOOD) | {"downstream": {"ctr": {"task": "click"}}}
    raw["upstreams"] = {"ctr": {"tasks": ["click"]}, "hot": POPULARITY | {"entities": ["user"]}}
    raw["lanes"] = {"fewer": {"upstreams": {"hot": {"entities": ["item"]}}}}
    config = parse_config(raw)
    assert "hot_user" in config.downstream["ctr"].variants
    fewer = config.for_lane("fewer").downstream["ctr"].variants
    assert fewer == ("none", "ctr_user", "ctr_user+ctr_item", "hot_item", "all", "shuffled")
    assert config.for_lane("main").downstream["ctr"].variants == config.downstream["ctr"].variants


def test_variants_that_are_named_stay_as_they_are() -> None:
    named = {"ctr": {"task": "click", "variants": ["none", "ctr_item"]}}
    assert parse_config(GOOD | {"downstream": named}).downstream["ctr"].variants == (
        "none",
        "ctr_item",
    )


# ---- what a digest is made of --------------------------------------------------------------------

SEED = {"table": "seed.parquet", "key": "u", "ids": "items"}
WHOLE = GOOD | {
    "entities": {
        "user": {},
        "item": {"table": "items.parquet", "key": "i", "features": {"colour": "categorical"}},
    },
    "histories": {"user": {"of": "item", "log": "feed", "seed": SEED}},
    "downstream": {"ctr": {"task": "click"}},
}
# What shapes no vector and no score: where things lie, how they are run, and what is refused.
RUNNING = {
    "name": "other",
    "warehouse": "elsewhere",
    "workers": 7,
    "engine": {"kind": "other.package:Engine", "settings": {"cluster": "big"}},
    "gates": {"min_effective_rank": 1.0},
    "store": {"online": "none", "bucket_rows": 7, "compact_after": 2},
    "index": {"kind": "exact"},
    "retrieval": {"prior": {"weight": 0.5}, "unseen": True},
    "evaluation": {"start": "2025-01-07", "margin_pct": 0.3, "trusted": ["item.colour"]},
    "tracking": {"kind": "tensorboard"},
    "lanes": {"new": {"upstreams": {"ctr": {"seed": 5}}}},
    "logs": {"feed": {"path": "other.parquet", "max_reject_share": 0.5}},
    "entities": {"item": {"table": "other.parquet", "as_of": "2025-01-01"}},
    "histories": {"user": {"seed": {"table": "other.parquet", "as_of": "2025-01-01"}}},
    "upstreams": {"ctr": {"checkpoint_steps": 7, "exploding": 9.0, "device": "auto"}},
    "lifecycle": {"promote": "manual", "keep_days": 400, "align": {"min_shared": 9}},
}
SHAPING = {
    "seed": 1,
    "time_zone": "Asia/Shanghai",
    "logs": {"feed": {"features": {"page": "categorical"}}},
    "entities": {"item": {"features": {"price": "numeric"}}},
    "histories": {"user": {"length": 3}},
    "tasks": {"click": {"matures_days": 1}},
    "upstreams": {"ctr": {"size": "tiny"}},
    "lifecycle": {"policy": {"kind": "mean", "k": 2}},
    "downstream": {"ctr": {"seeds": [3]}},
    "store": {"encoding": "int8"},
}


def laid_over(raw: Any, change: Any) -> Any:
    """`change` laid over `raw`, key by key."""
    if not (isinstance(raw, dict) and isinstance(change, dict)):
        return change
    return {**raw, **{key: laid_over(raw.get(key), value) for key, value in change.items()}}


def digest_with(change: dict[str, Any]) -> str:
    return parse_config(laid_over(WHOLE, change)).digest()


def settings(changes: dict[str, Any]) -> list[Any]:
    """A change for each section, and what it is called."""
    return [pytest.param({section: value}, id=section) for section, value in changes.items()]


def test_every_section_either_shapes_results_or_only_runs_them() -> None:
    assert set(FactoryConfig.model_fields) == {*RUNNING, *SHAPING}


@pytest.mark.parametrize("change", settings(RUNNING))
def test_a_digest_does_not_follow_what_only_runs(change) -> None:
    """Neither that a section or a setting is declared, nor what it says: no published day becomes a
    conflict over it.
    """
    assert digest_with(change) == digest_with({})


@pytest.mark.parametrize("change", settings(SHAPING))
def test_a_digest_follows_what_shapes(change) -> None:
    assert digest_with(change) != digest_with({})


def test_a_digest_follows_the_settings_of_a_stranger_s_kind() -> None:
    upstream = POPULARITY | {"settings": {"halves_after_days": 3}}
    digests = {
        digest_with({"upstreams": {"hot": POPULARITY}}),
        digest_with({"upstreams": {"hot": upstream}}),
        digest_with({"upstreams": {"hot": upstream | {"settings": {"halves_after_days": 4}}}}),
        digest_with({}),
    }
    assert len(digests) == 4


def test_what_is_not_set_and_what_is_set_to_its_default_have_one_digest() -> None:
    assert digest_with({"lifecycle": {"lag_days": 1}, "seed": 0}) == digest_with({})
