"""The commands as a person and a script meet them: answers, exit codes, nothing else on stdout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import day, tiny_config
from headwater.cli.main import app
from headwater.config import load_config

ROOT = Path(__file__).parent.parent.parent

WITHIN = ("auc", "lift_pct", "low", "high", "p_value", "p_holm")


def headwater(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headwater.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def answer(*arguments: object) -> dict:
    done = headwater(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # one object, nothing else


@pytest.fixture(scope="module")
def some_user(done) -> str:
    import polars as pl

    return str(
        pl.read_parquet(done.parent / "world" / "impressions" / f"{day(0)}.parquet")["user_id"][0]
    )


def test_status_names_every_edition_and_the_live_one(done) -> None:
    found = answer("status", "--factory", done)
    assert [edition["day"] for edition in found["editions"]] == [str(day(n)) for n in range(4)]
    assert found["live"] == str(day(3))
    assert len({edition["digest"] for edition in found["editions"]}) == 4
    assert found["editions"][-1]["coverage"]["ctr_user"] > 0.5
    assert "live" in headwater("status", "--factory", done).stdout


def test_lookup_answers_from_the_live_edition_as_the_edition_holds_it(done, some_user) -> None:
    from headwater.ids import key_of
    from headwater.serving.reader import Reader

    found = answer("lookup", "user", some_user, "--factory", done)
    assert found["edition"] == str(day(3))
    for name, vector in found["vectors"][some_user].items():
        snapshot = Reader.load(done).edition().read(name)
        row = snapshot.keys_N.tolist().index(key_of(some_user))
        assert vector == snapshot.vectors_ND[row].tolist()
    assert set(found["vectors"][some_user]) <= {"ctr_user", "cvr_user"}


def test_an_unknown_id_says_so_with_exit_2_and_no_vector(done, some_user) -> None:
    for arguments in (
        ("lookup", "user", some_user, "nobody"),
        ("similar", "item", "ad-999999"),
        ("retrieve", "nobody"),
    ):
        done_ = headwater(*arguments, "--factory", done, "--json")
        assert (done_.returncode, done_.stdout) == (2, "")
        assert re.search(
            r"error: no (user|item) '(nobody|ad-999999)' in the live edition", done_.stderr
        )


def test_similar_and_retrieve_rank_by_cosine(done, some_user) -> None:
    near = answer("similar", "item", "ad-1", "-k", 5, "--factory", done)["items"]
    assert "ad-1" not in [item["id"] for item in near]
    assert [item["score"] for item in near] == sorted(
        (item["score"] for item in near), reverse=True
    )
    assert len(answer("retrieve", some_user, "-k", 7, "--factory", done)["items"]) == 7
    assert (
        answer("retrieve", some_user, "--upstream", "cvr", "--factory", done)["embedding"]
        == "cvr_item"
    )
    assert headwater("retrieve", some_user, "--upstream", "nope", "--factory", done).returncode == 2


def test_lift_prints_the_table_with_its_keys(done) -> None:
    found = answer("lift", "--table", "T2", "--factory", done)
    assert (found["table"], found["consumer"]) == ("T2", "ctr")
    assert [(row["variant"], row["baseline"]) for row in found["rows"]] == [
        ("none", "none"),
        ("all", "none"),
        ("shuffled", "none"),
        ("all", "shuffled"),
    ]
    assert set(found["rows"][0]) == {
        "variant",
        "baseline",
        "roc_auc",
        "roc_auc_lift_pct",
        "low",
        "high",
        "p_value",
        "p_holm",
        "df",
        "users_effective",
        "items_effective",
        "covers_training",
        "rows_needed",
        *(f"{of}_{key}" for of in ("daily", "group") for key in WITHIN),
        "group_of",
        "pr_auc",
        "pr_auc_lift_pct",
        "pr_low",
        "pr_high",
        "log_loss",
        "ne",
        "seeds",
        "upstream_seeds",
        "n",
    }
    assert found["rows"][0]["roc_auc_lift_pct"] is None
    assert found["rows"][1]["covers_training"] is False
    assert found["answer"].endswith("the chance in training is not covered.")
    assert answer("lift", "--table", "T3", "--factory", done)["consumer"] == "cvr"
    assert "no table named 'T9'" in headwater("lift", "--table", "T9", "--factory", done).stderr


def test_run_of_a_past_day_changes_nothing(done) -> None:
    before = answer("status", "--factory", done)
    assert (
        answer("run", "--day", day(1), "--factory", done)["edition"]
        == before["editions"][1]["digest"]
    )
    assert answer("status", "--factory", done) == before


def test_recipes_init_and_check(tmp_path) -> None:
    assert [recipe["recipe"] for recipe in answer("recipes")["recipes"]] == [
        "adsworld",
        "kuairand",
        "kuairand_retrieval",
    ]
    path = answer(
        "init",
        "adsworld",
        "--data",
        tmp_path / "w",
        "--out",
        tmp_path / "f",
        "--size",
        "tiny",
        "--days",
        3,
    )["factory"]
    found = answer("check", "--factory", path, "--explain")
    assert found["logs"]["impressions"] == {"first_day": str(day(0)), "last_day": str(day(2))}
    assert found["values"]["upstreams.ctr.width"] == {
        "value": 16,
        "from": "derived from size: tiny",
    }
    assert found["values"]["lifecycle.expire_days"]["from"] == "declared"
    assert not (tmp_path / "f" / "warehouse").exists()  # check writes nothing
    again = headwater(
        "init", "adsworld", "--data", tmp_path / "w2", "--out", tmp_path / "f", "--size", "tiny"
    )
    assert again.returncode == 2
    assert "another factory" in again.stderr
    missing = headwater("init", "kuairand", "--data", tmp_path, "--out", tmp_path / "k")
    assert missing.returncode == 2
    assert missing.stderr.count("  - ") == 4


def test_check_reports_problems_of_config_and_of_data_at_once(tmp_path, world) -> None:
    raw = json.loads(json.dumps(tiny_config(world)))
    raw["logs"]["impressions"]["features"]["colour"] = "categorical"  # no such column
    raw["entities"]["item"]["features"]["picture"]["width"] = 3  # 16 in the data
    raw["entities"]["user"]["table"] = str(tmp_path / "none.parquet")
    path = tmp_path / "factory.yaml"
    path.write_text(yaml.safe_dump(raw))
    done = headwater("check", "--factory", path)
    assert done.returncode == 2
    for part in ("no column 'colour'", "expected 3 numbers, received [16]", "no file matches"):
        assert part in done.stderr


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"store": {"online": {"kind": "sqllite"}}}, "no online store named 'sqllite'; there are"),
        (
            {"store": {"online": {"kind": "lmdb", "settings": {"cache": 3}}}},
            "its settings are: non",
        ),
        (
            {"downstream": {"r": {"task": "click", "model": "none"}}},
            "no ranker named 'none'; there",
        ),
        (
            {"engine": {"kind": "local", "settings": {"cache": 3}}},
            "unexpected keyword argument 'ca",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_by_check_and_before_a_day_is_trained(
    tmp_path, world, section, said
) -> None:
    path = tmp_path / "factory.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(tiny_config(world) | section))))
    for command in (["check"], ["run", "--day", str(day(0))]):
        done = headwater(*command, "--factory", path)
        assert done.returncode == 2, done.stderr
        assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "warehouse" / "daily").exists()


@pytest.mark.slow
def test_the_demo_runs_to_its_tables_and_again_changes_nothing(tmp_path) -> None:
    found = answer("demo", "--out", tmp_path / "demo", "--size", "tiny", "--days", 8)
    assert [
        (table["table"], sum(row["baseline"] == "none" for row in table["rows"]))
        for table in found["tables"]
    ] == [("T2", 6), ("T3", 5)]
    assert 0.7 < found["best_reachable_auc"]["click"] < 0.95
    assert Path(found["report"]).stat().st_size > 1_000_000  # the drawing library is inside
    assert answer("demo", "--out", tmp_path / "demo", "--size", "tiny", "--days", 8) == found


def test_errors_are_one_message_and_exit_2(tmp_path) -> None:
    for arguments in (
        ("status", "--factory", tmp_path / "no.yaml"),
        ("run", "--day", "yesterday", "--factory", tmp_path / "no.yaml"),
    ):
        done = headwater(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


def test_reading_needs_no_torch(done, some_user) -> None:
    script = (
        "import sys; sys.modules['torch'] = None; sys.modules['safetensors'] = None\nfrom"
        " headwater import Reader\nreader ="
        f" Reader.load({str(done)!r})\nprint(len(reader.retrieve({some_user!r}, 3).items),"
        f" len(reader.lookup('user', [{some_user!r}]).vectors))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["3", "1"], ran.stderr


def test_help_is_quick_because_torch_stays_out() -> None:
    script = (
        "import sys, headwater.cli.main; print('torch' in sys.modules, 'polars' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == ["False", "False"]


def commands() -> list[str]:
    return [command.name or command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_readme(command) -> None:
    assert re.search(rf"headwater {command}\b", (ROOT / "README.md").read_text()), command


def test_the_configs_in_the_readme_are_valid() -> None:
    from headwater.config import parse_config

    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        parse_config(yaml.safe_load(block))


def test_the_written_config_reads_back(done) -> None:
    assert load_config(done).name == "adsworld"
