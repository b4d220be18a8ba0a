"""A stranger's kind of upstream, from its line in factory.yaml to what it gains a ranker, beside
one of ours.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from conftest import bytes_of, day, table_at, tiny_config
from headwater.cli.main import app
from headwater.errors import ConfigError, ModelError, SnapshotError
from headwater.ids import key_of
from headwater.workspace import Workspace

STRANGERS = Path(__file__).parent.parent / "strangers"
HOT = {"kind": "popularity:Popularity", "tasks": ["click"], "settings": {"note": "mine"}}
WINDOW_DAYS, LAST = 3, 4


@pytest.fixture(scope="module", autouse=True)
def importable():
    """The stranger's module, as one that is installed beside the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STRANGERS)
        yield
        sys.modules.pop("popularity", None)


Answers = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(capsys) -> Answers:
    """What a command prints with --json, run in this process: one object, nothing else."""

    def run(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        app([*map(str, arguments), "--json"], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    return run


def write_factory(root: Path, world: Path, hot: dict[str, Any] = HOT) -> Path:
    """As `headwater init adsworld` writes it, over the tiny world and with small models; then the
    stranger's upstream joins it, by hand.
    """
    shutil.copytree(world, root / "world")
    command = ["init", "adsworld", "--data", root / "world", "--out", root, "--json"]
    app([*map(str, command)], standalone_mode=False)
    raw = yaml.safe_load((root / "factory.yaml").read_text())
    small = json.loads(json.dumps(tiny_config(world, Path("world"))))
    raw |= {name: small[name] for name in ("workers", "evaluation")}
    small["downstream"]["ctr"].pop("variants")
    raw["downstream"] = {"ctr": small["downstream"]["ctr"]}
    raw["upstreams"] = {"ctr": small["upstreams"]["ctr"], "hot": hot}
    (root / "factory.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return root / "factory.yaml"


def backfill(path: Path, first: int = 0, last: int = LAST) -> list[str]:
    return ["backfill", f"--from={day(first)}", f"--to={day(last)}", "--factory", str(path)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory, world) -> Path:
    """The factory.yaml of a factory with the stranger's upstream that ran five days. Read only."""
    path = write_factory(tmp_path_factory.mktemp("hot") / "factory", world)
    app([*backfill(path), "--no-report"], standalone_mode=False)
    return path


@pytest.fixture
def own(ran, tmp_path) -> Path:
    """A copy of it, to tamper with."""
    shutil.copytree(ran.parent, tmp_path / "own", copy_function=shutil.copy2)
    return tmp_path / "own" / "factory.yaml"


def test_check_finds_nothing_wrong_and_explains_its_settings(tmp_path, world, answer) -> None:
    path = write_factory(tmp_path / "factory", world)
    found = answer("check", "--factory", path, "--explain")
    assert found["problems"] == []
    declared = {"value": "popularity:Popularity", "from": "declared"}
    assert found["values"]["upstreams.hot.kind"] == declared
    assert found["values"]["upstreams.hot.settings.note"] == {"value": "mine", "from": "declared"}
    assert "upstreams.hot.width" not in found["values"]  # derived from `size`, which is DERM's
    assert not (path.parent / "warehouse").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no_such_package:Popularity", "the module 'no_such_package' cannot be imported"),
        ("popularity:NoSuch", "the module 'popularity' has no 'NoSuch'"),
        ("popularity:unit", "should be a class, received function"),
        ("popular", "no upstream named 'popular'; there are: derm"),
    ],
)
def test_check_says_that_a_kind_is_not_there(tmp_path, world, answer, kind, said) -> None:
    path = write_factory(tmp_path / "factory", world, HOT | {"kind": kind})
    with pytest.raises(ConfigError) as caught:
        answer("check", "--factory", path)
    assert said in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        answer(*backfill(path), "--no-report")
    assert said in str(caught.value)


def test_backfill_tells_the_days_and_changes_no_byte_of_days_that_are_done(own, answer) -> None:
    warehouse = own.parent / "warehouse"
    before = bytes_of(warehouse)
    days = answer(*backfill(own), "--no-report")["days"]
    workspace = Workspace.load(own)
    assert days == [
        {"day": str(entry.day), "edition": entry.digest} for entry in workspace.chain().days
    ]
    assert [entry["day"] for entry in days] == [str(day(n)) for n in range(LAST + 1)]
    assert bytes_of(warehouse) == before


def test_its_vectors_follow_the_clicks_of_three_days_and_its_state_those_of_all(ran) -> None:
    """A slow twin, from the log itself."""
    from popularity import directions, unit

    log = pl.concat(
        [
            pl.read_parquet(
                ran.parent / "world" / "impressions" / f"{day(n)}.parquet"
            ).with_columns(n=n)
            for n in range(LAST + 1)
        ]
    )
    clicks = log.filter(pl.col("is_click") == 1)

    def direction(value: Any) -> np.ndarray:
        return directions(np.array([key_of(value)], np.uint64), 0)[0]

    def of_user(user: int) -> np.ndarray:
        seen = clicks.filter((pl.col("user_id") == user) & (pl.col("n") > LAST - WINDOW_DAYS))[
            "ad_id"
        ]
        return direction(user) + np.eye(8)[0] + sum(map(direction, seen), np.zeros(8))

    def of_item(item: str) -> np.ndarray:
        count = clicks.filter(pl.col("ad_id") == item).height
        return direction(item) + np.log1p(count) * np.eye(8)[0]

    daily = Workspace.load(ran).daily_of(day(LAST))
    today = log.filter(pl.col("n") == LAST)
    for name, column, twin in (("hot_user", "user_id", of_user), ("hot_item", "ad_id", of_item)):
        expected = {key_of(value): twin(value) for value in today[column].unique()}
        segment = daily[name].segment
        assert segment.keys.tolist() == sorted(expected)
        vectors = segment.gather(np.arange(len(expected)))[0]
        of_twin = unit(np.array([expected[key] for key in sorted(expected)]))
        np.testing.assert_allclose(vectors, of_twin, rtol=1e-4, atol=1e-6)
    # and the twin can tell: somebody clicked on each of the three days, some before them
    assert set(clicks["n"]) == set(range(LAST + 1))


def test_its_space_goes_on_from_the_first_day(ran) -> None:
    workspace = Workspace.load(ran)
    spaces = [workspace.edition(day(n)).space("hot_user") for n in range(LAST + 1)]
    assert {(space.upstream, space.width, space.opened) for space in spaces} == {("hot", 8, day(0))}
    assert len(set(spaces)) == 1
    states = {
        n: json.loads(
            next(workspace.layout.root.glob(f"models/hot/{day(n)}/*/state.json")).read_text()
        )
        for n in (0, LAST)
    }
    assert states[LAST]["first_day"] == str(day(0))
    totals = {n: sum(state["clicks"].values()) for n, state in states.items()}
    assert 0 < totals[0] < totals[LAST]


def test_look_up_and_retrieve_answer_in_its_space(ran, answer) -> None:
    users = pl.read_parquet(ran.parent / "world" / "impressions" / f"{day(LAST)}.parquet")[
        "user_id"
    ]
    user = str(users[0])
    found = answer("lookup", "user", user, "--factory", ran)
    assert list(found["vectors"][user]) == ["ctr_user", "hot_user"]
    assert (found["edition"], len(found["vectors"][user]["hot_user"])) == (str(day(LAST)), 8)
    near = answer("retrieve", user, "-k", 5, "--upstream", "hot", "--factory", ran)
    assert near["embedding"] == "hot_item"
    edition = Workspace.load(ran).edition(day(LAST))
    vectors = {
        value: edition.lookup(
            "hot_item", np.array([key_of(value)], np.uint64), day(LAST)
        ).vectors_ND[0]
        for value in pl.read_parquet(ran.parent / "world" / "items.parquet")["ad_id"]
    }
    own = np.array(found["vectors"][user]["hot_user"])

    def cosine(vector: np.ndarray) -> float:
        return float(vector @ own / (np.linalg.norm(own) * max(np.linalg.norm(vector), 1e-9)))

    best = sorted(vectors, key=lambda value: cosine(vectors[value]), reverse=True)[:5]
    assert [item["id"] for item in near["items"]] == best
    assert [item["score"] for item in near["items"]] == pytest.approx(
        [cosine(vectors[value]) for value in best], abs=1e-4
    )


def test_the_lift_of_a_ranker_is_told_by_upstream(ran, answer) -> None:
    found = answer("lift", "--table", "T2", "--factory", ran)
    variants = ["none", "ctr_user", "ctr_user+ctr_item", "hot_user+hot_item", "all", "shuffled"]
    assert [
        row["variant"] for row in found["rows"] if row["baseline"] in (None, "none")
    ] == variants
    rows = {row["variant"]: row for row in found["rows"] if row["baseline"] == "none"}
    assert rows["hot_user+hot_item"]["roc_auc"] not in (rows["none"]["roc_auc"], None)
    assert len({row["n"] for row in rows.values()}) == 1
    assert found["rows"] == json.loads(json.dumps(table_at(ran, "T2").rows))


def test_a_second_factory_of_the_same_world_has_the_same_editions(ran, tmp_path, world) -> None:
    path = write_factory(tmp_path / "again", world)
    app([*backfill(path, last=1), "--no-report"], standalone_mode=False)
    one, two = Workspace.load(ran), Workspace.load(path)
    assert [two.edition(day(n)).digest for n in (0, 1)] == [
        one.edition(day(n)).digest for n in (0, 1)
    ]


@pytest.mark.parametrize("lost", ["daily", "models", "both"])
def test_a_day_killed_between_is_made_again_to_the_byte(own, answer, lost) -> None:
    """Killed before the switch, with the state of the day written and its vectors not yet, or the
    other way round.
    """
    workspace = Workspace.load(own)
    layout, whole = workspace.layout, bytes_of(workspace.layout.root)
    hot = workspace.layout.home / workspace.edition(day(LAST)).daily["hot"]
    state = workspace.layout.root / workspace.edition(day(LAST)).models["hot"]
    number = workspace.catalog().number
    (layout.root / "catalog" / f"{number:012d}.json").unlink()
    (layout.root / "catalog" / "newest").write_text(str(number - 1))
    assert Workspace.load(own).days_done() == [day(n) for n in range(LAST)]
    if lost != "models":
        shutil.rmtree(hot)
    if lost != "daily":
        shutil.rmtree(state)
    report = answer("run", "--day", day(LAST), "--factory", own)
    assert report["edition"] == workspace.edition(day(LAST)).digest
    assert bytes_of(layout.root) == whole


def test_what_is_done_of_a_day_is_not_made_again(own, answer, monkeypatch) -> None:
    import popularity

    learnt, run = [], popularity.Popularity.run
    monkeypatch.setattr(
        popularity.Popularity, "run", lambda self, job: learnt.append(job.day) or run(self, job)
    )
    raw = yaml.safe_load(own.read_text())
    raw["lifecycle"] = raw["lifecycle"] | {"policy": {"kind": "mean", "k": 2}}
    own.write_text(yaml.safe_dump(raw, sort_keys=False))
    shutil.rmtree(
        Workspace.load(own).layout.home / Workspace.load(own).edition(day(2)).daily["hot"]
    )
    answer("run", "--day", day(0), "--replace", "--factory", own)
    assert learnt == [day(2)]  # another policy trains nothing; what was lost is made again


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("OneEntity", ModelError, r"its run should give .*'hot', 8\)\] .* Received: \[\('user'"),
        ("OtherWidth", ModelError, r"its run should give .*'hot', 8\)\] .* Received: .*'hot', 6\)"),
        ("OtherName", ModelError, r"its run should give .*'hot', 8\)\] .* Received: .*'ctr', 8\)"),
        ("OtherArray", SnapshotError, r"hot_user .*vectors_ND should be .*8\). Received: .*6\)"),
    ],
)
def test_a_run_that_does_not_keep_to_its_plan_is_refused(
    tmp_path, world, answer, kind, error, said
) -> None:
    path = write_factory(tmp_path / "factory", world, HOT | {"kind": f"popularity:{kind}"})
    with pytest.raises(error, match=said) as caught:
        answer(*backfill(path, last=0), "--no-report")
    if error is ModelError:
        assert f"upstream hot (popularity:{kind})" in str(caught.value)
    assert Workspace.load(path).days_done() == []
    assert not list((path.parent / "warehouse").glob("daily/*/hot-*"))


def test_who_was_erased_stays_away_though_an_upstream_remembers_them(
    tmp_path, world, answer
) -> None:
    path = write_factory(tmp_path / "factory", world, HOT | {"kind": "popularity:Elephant"})
    answer(*backfill(path, last=1), "--no-report")
    workspace = Workspace.load(path)
    item = answer("similar", "item", "ad-1", "--factory", path)["items"][0]["id"]
    key = key_of(item)
    assert key in workspace.edition(day(1)).part("hot_item").keys
    assert answer("erase", "item", item, "--factory", path)["verified"]
    answer("run", "--day", day(2), "--factory", path)
    edition = Workspace.load(path).edition(day(2))
    assert key not in edition.part("hot_item").keys
    assert len(edition.part("hot_item").keys) > 1
