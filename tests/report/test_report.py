"""The report and the comparison: what they say, the files beside them, and what a browser makes of
them.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from browser import Browser, browser_of, find_browser
from conftest import day
from headwater.cli.main import app as cli
from headwater.embeddings.gates.evidence import GateResult
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.report.compare import Comparison, write_compare
from headwater.report.headline import headline
from headwater.report.operations import gates_table
from headwater.report.page import height_of, sections_of
from headwater.report.pictures import picture
from headwater.report.report import as_csv, write_report
from headwater.store.reports import DayReport, SnapshotHealth

HOSTILE = '</script><img src="x" onerror="boom()">'
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


def lift(variant: str, low: float, high: float, baseline: str = "none") -> dict[str, Any]:
    pct = (low + high) / 2
    return {
        "variant": variant,
        "baseline": baseline,
        "roc_auc": 0.7 * (1 + pct / 100),
        "roc_auc_lift_pct": pct,
        "low": low,
        "high": high,
        "p_holm": None,
        "daily_lift_pct": pct,
        "daily_low": low,
        "daily_high": high,
        "daily_p_holm": None,
        "group_of": "user and day",
        "group_lift_pct": None,
        "group_low": None,
        "group_high": None,
        "n": 100,
    }


def within(row: dict[str, Any], **bounds: tuple[float, float]) -> dict[str, Any]:
    """The same row with other lifts of daily ROC-AUC, or of that in groups."""
    for metric, (low, high) in bounds.items():
        figures = {"lift_pct": (low + high) / 2, "low": low, "high": high}
        row = row | {f"{metric}_{key}": value for key, value in figures.items()}
    return row


def lifts(*rows: dict[str, Any], name: str = "T2", consumer: str = "ctr") -> Table:
    bars = Series(
        "lift",
        *(
            tuple(row[key] for row in rows)
            for key in ("variant", "roc_auc_lift_pct", "low", "high")
        ),
    )
    chart = Chart(
        f"{name}-{consumer}",
        "Lift by variant",
        "bars",
        "lift of ROC-AUC, %",
        "",
        (bars,),
        "With intervals.",
    )
    columns = (
        Column("variant", "variant"),
        Column("baseline", "against"),
        Column("roc_auc", "ROC-AUC", ".4f"),
        Column("roc_auc_lift_pct", "lift %", "+.2f", "low", "high"),
    )
    return Table(
        name,
        "lift of the ranker",
        consumer,
        "2025-01-01",
        "2025-01-02",
        f"What {name} found.",
        columns,
        (lift("none", 0, 0), *rows),
        (),
        (chart,),
    )


def every_kind() -> list[Table]:
    """Tables with every kind of chart, holes, forty rows, long and hostile labels."""
    slices = [
        {
            "slice": f"slice {n} of a description that is rather long",
            "lift": None if n == 5 else n / 10 - 1,
            "inner": {"a": n, "b": {"c": "x,y"}},
        }
        for n in range(40)
    ]
    bars = Series(
        "lift", tuple(row["slice"] for row in slices), tuple(row["lift"] for row in slices)
    )
    at = (0.1, 0.2, 0.3, 0.4)
    variants = (
        Series("none", at, (0.1, 0.25, None, 0.5)),
        Series("all", at, at, (0.05, 0.15, 0.25, 0.35), (0.15, 0.25, 0.35, 0.45)),
    )
    calibration = Chart(
        "calibration", "Calibration", "lines", "predicted", "observed", variants, diagonal=True
    )
    days = tuple(
        Series(f"series {n}", ("2025-01-01", "2025-01-02"), (0.5 + n / 100, 0.6)) for n in range(9)
    )
    daily = Chart("daily", HOSTILE, "lines", "day", "ROC-AUC", days)
    cost = Chart(
        "cost",
        "Cost",
        "points",
        "bytes",
        "lift",
        (Series("int8", (20, 36), (0.7, 1.0), (0.5, 0.9), (0.9, 1.1), (HOSTILE, "36 bytes")),),
    )
    return [
        lifts(
            lift("all", 1, 3),
            lift("a variant of a name that goes on+and on+and on~mean", -1, 1),
            lift("shuffled", -3, -1),
        ),
        Table(
            "slices",
            HOSTILE,
            "ctr",
            "2025-01-01",
            "2025-01-02",
            HOSTILE,
            (
                Column("slice", "slice"),
                *(Column("lift", f"lift, again {n}", "+.2f") for n in range(9)),
            ),
            tuple(slices),
            (HOSTILE,),
            (Chart("slices", "Slices", "bars", "lift, %", "", (bars,)),),
        ),
        Table(
            "T4",
            "the rest",
            "cvr",
            "2025-01-01",
            "2025-01-02",
            "Some.",
            (Column("x", "x", ".1f"),),
            ({"x": 1.0},),
            (),
            (calibration, daily, cost),
        ),
    ]


@pytest.fixture(scope="module")
def page(done: Path) -> Path:
    return write_report(done, every_kind())


@pytest.fixture(scope="module")
def rival(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same factory, but that its CTR ranker with embeddings predicts what did not come, and its
    CVR ranker was judged on fewer rows.
    """
    root = tmp_path_factory.mktemp("rival") / "factory"
    shutil.copytree(done.parent, root)
    raw = yaml.safe_load((root / "factory.yaml").read_text())
    raw["lifecycle"] = {**raw.get("lifecycle", {}), "expire_days": 71}
    (root / "factory.yaml").write_text(
        yaml.safe_dump(raw, sort_keys=False).replace(str(done.parent), str(root))
    )
    generator = np.random.default_rng(0)
    for path in (root / "warehouse" / "judged" / "ctr").glob("*.parquet"):
        frame = pl.read_parquet(path)
        wrong = 0.7 - 0.2 * frame["label"].to_numpy() - 0.5 * generator.random(len(frame))
        frame.with_columns(pl.Series("all|0", wrong, pl.Float32)).write_parquet(path)
    for path in (root / "warehouse" / "judged" / "cvr").glob("*.parquet"):
        pl.read_parquet(path).slice(1).write_parquet(path)
    return root / "factory.yaml"


@pytest.fixture(scope="module")
def comparison(done: Path, rival: Path) -> tuple[Path, dict[str, Any]]:
    out = rival.parent / "out" / "compare.html"
    return out, write_compare(done, rival, out).as_json()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        pytest.skip(
            "no Chromium here: install the package `chromium` to draw the report in a browser"
        )
    with browser_of(program) as started:
        yield started


@pytest.mark.parametrize(
    ("rows", "tone", "words"),
    [
        ((lift("all", 1, 3), lift("shuffled", -1, 1)), "good", "helps"),
        ((lift("all", -1, 3),), "flat", "no effect shown"),
        ((lift("all", -3, -1), lift("shuffled", 0.5, 1)), "bad", "hurts"),
        (
            (lift("all", 1, 3), lift("shuffled", 0.5, 1), lift("all", -1, 3, "shuffled")),
            "doubt",
            "in doubt: no gain over the control",
        ),
        (
            (lift("all", 1, 3), lift("shuffled", 0.5, 1), lift("all", 0.5, 2, "shuffled")),
            "good",
            "helps",
        ),
        (({**lift("user", 1, 3), "p_holm": 0.2}, lift("item", 0, 1)), "flat", "no effect shown"),
        (({**lift("all", 1, 3), "p_holm": 0.2}, lift("item", 0, 1)), "good", "helps"),
        ((within(lift("all", 1, 3), daily=(-1, 1)),), "flat", "no effect shown"),
        (
            (within(lift("all", 1, 3), group=(-3, -1)),),
            "mixed",
            "mixed: one ROC-AUC rises, another falls",
        ),
        ((within(lift("all", -1, 3), daily=(-1, 1), group=(-3, -1)),), "bad", "hurts"),
        (({**lift("user", 1, 3), "daily_p_holm": 0.2},), "flat", "no effect shown"),
    ],
)
def test_the_headline_says_what_the_interval_allows_and_no_more(rows, tone, words) -> None:
    found = headline(lifts(*rows))
    assert (found.tone, found.word) == (tone, words)


def test_the_headline_is_of_the_variant_that_reads_all_or_else_owns_up_to_choosing() -> None:
    whole = headline(lifts(lift("user", 4, 6), lift("all", 1, 3)))
    assert (whole.figure, whole.sentence) == (
        "+2.00",
        "What T2 found. No shuffled control was judged.",
    )
    chosen = headline(
        lifts(
            lift("user", -3, -1),
            lift("item", -2, -1),
            lift("shuffled", 7, 8),
            lift("item", 5, 6, baseline="user"),
        )
    )
    assert (chosen.figure, chosen.interval) == (
        "\N{MINUS SIGN}1.50",
        "\N{MINUS SIGN}2.00 to \N{MINUS SIGN}1.00 %",
    )
    assert chosen.bars[0].name == "reading item, the best of 2 variants afterwards"


def test_a_strip_holds_every_interval_and_zero_in_proportion() -> None:
    found = headline(lifts(lift("all", 1, 3), lift("shuffled", -1, 0)))
    whole, daily, control = found.bars
    assert daily.name == "daily, +2.00 %"
    assert (control.left, whole.left + whole.width) == (4, 96)  # -1 and 3, the ends
    assert found.zero == control.left + control.width == 27  # a quarter of the way from 4 to 96
    assert whole.at == 73  # 2 lies three quarters of the way


def health(gate: GateResult) -> SnapshotHealth:
    return SnapshotHealth(
        rows=9,
        fresh=3,
        space="ctr 2025-01-01 abc",
        digest="d",
        segments=1,
        cosine_median=0.9,
        cosine_p10=0.8,
        age_mean_days=1.0,
        age_p90_days=2.0,
        cohorts={},
        gates=(gate,),
    )


def failing_day() -> DayReport:
    gate = GateResult("user", "drift", 0.5, 0.2, True, "within bounds")
    bad = replace(gate, figure=0.1, threshold=0.3, passed=False, reason="too small")
    return DayReport(
        day=dt.date(2025, 1, 1),
        fingerprint="f",
        edition="e",
        forced=("user: drift",),
        snapshots={"user": health(bad), "item": health(gate)},
    )


def test_a_gate_that_failed_is_told_in_the_answer_the_cell_and_the_notes() -> None:
    table = gates_table(failing_day())
    assert (
        table.answer == "1 of 2 checks failed. The day was published by force, over: user: drift."
    )
    assert [column.show(table.rows[0]) for column in table.columns] == [
        "drift",
        "0.1 refused",
        "0.5",
        "0.2 to 0.3",
    ]
    assert table.notes == ("user, drift: too small.",)


def test_csv_has_every_field_flat_and_reads_back(page: Path) -> None:
    rows = list(csv.DictReader((page.parent / "tables" / "slices-ctr.csv").open(newline="")))
    assert rows[7] == {
        "slice": "slice 7 of a description that is rather long",
        "lift": repr(7 / 10 - 1),
        "inner.a": "7",
        "inner.b.c": "x,y",
    }
    assert rows[5]["lift"] == ""
    assert len(rows) == 40
    by_day = list(csv.DictReader((page.parent / "tables" / "days-factory.csv").open(newline="")))
    assert [row["day"] for row in by_day] == [str(day(n)) for n in (3, 2, 1, 0)]
    assert float(by_day[0]["coverage.ctr_user"]) > 0
    assert (
        by_day[3]["monitors.cosine_median.ctr_user"]
        == ""
        != by_day[0]["monitors.cosine_median.ctr_user"]
    )


def test_pictures_open_show_their_colours_and_are_the_same_each_time(page: Path) -> None:
    from matplotlib.image import imread

    charts = [chart for table in every_kind() for chart in table.charts]
    names = {path.stem for path in (page.parent / "plots").glob("*.png")}
    assert {chart.name for chart in charts} <= names
    assert {
        "day-coverage",
        "day-quality-ctr",
        "day-quality-cvr",
        "day-cosine-median",
        "day-domain-auc",
        "item-map",
    } <= names
    for name in names:
        pixels = imread(page.parent / "plots" / f"{name}.png")
        assert 0.02 < (pixels[..., :3] < 0.97).any(axis=-1).mean() < 0.7, name  # ink on paper
    wanted = np.array([0x1B, 0x7A, 0x68]) / 255  # the good one of the three bars
    assert (
        np.isclose(imread(page.parent / "plots" / "T2-ctr.png")[..., :3], wanted, atol=0.01)
        .all(axis=-1)
        .sum()
        > 5000
    )
    for chart in charts:
        if chart.name in ("T2-ctr", "calibration", "cost"):
            assert (page.parent / "plots" / f"{chart.name}.png").read_bytes() == picture(chart)


def test_files_of_tables_that_are_no_more_go_and_the_bytes_stay(
    page: Path, done: Path, tmp_path: Path
) -> None:
    shutil.copytree(done.parent, tmp_path / "factory")
    again = tmp_path / "factory" / page.relative_to(done.parent)
    for name in ("tables/T9-ctr.csv", "plots/T9-ctr.png", "index.html"):
        (again.parent / name).write_text("old")
    write_report(tmp_path / "factory" / "factory.yaml", every_kind())
    before, after = (
        {
            file.relative_to(folder): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
        for folder in (page.parent, again.parent)
    )
    assert before == after


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.feed(re.sub(r"<script.*?</script>", "", text, flags=re.S))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def test_links_lead_to_the_page_itself_or_to_a_file_beside_it(page: Path) -> None:
    links = Links(page.read_text())
    assert len(links.ids) == len(set(links.ids))
    for target in links.targets:
        assert (
            target[1:] in links.ids if target.startswith("#") else (page.parent / target).is_file()
        ), target
    assert sum(target.endswith(".csv") for target in links.targets) == 6
    assert sum(target.endswith(".png") for target in links.targets) == len(
        list((page.parent / "plots").iterdir())
    )


def test_the_page_tells_the_answer_first_then_tables_operations_method_config(page: Path) -> None:
    text = page.read_text()
    text = text[text.index("<main>") :]
    places = [
        text.index(part)
        for part in (
            "+2.00",
            "helps",
            ">What T2 found.",
            'id="tables"',
            'id="T2-ctr"',
            'id="operations"',
            'id="how"',
            'id="config"',
        )
    ]
    assert places == sorted(places)
    assert text.count("<caption>") == text.count("<table") == 5
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), flags=re.S).group(1))
    assert sum(len(one["x"]) for one in data["charts"]["plot-map-factory-0"]["series"]) > 0


def test_room_for_a_chart_grows_with_its_bars() -> None:
    sections = sections_of(every_kind())
    few, many = (height_of(section.pictures[0].chart) for section in sections[:2])
    assert few < 200 < many
    assert sections[1].numeric == (False, *[True] * 9)


def drawn(browser: Browser) -> dict[str, int]:
    """Shapes of every chart on the page; none where its picture takes no room."""
    return browser.value(
        """Object.fromEntries([...document.querySelectorAll('.plot')].map(place => {
        const svg = place.querySelector('svg'), box = svg?.getBoundingClientRect();
        const seen = svg && box.width > 200 && box.height > 60;
        return [place.id, seen ? svg.querySelectorAll('path').length : 0]; }))"""
    )


def check_page(browser: Browser, path: Path, width: int, height: int, scheme: str) -> None:
    browser.open(path, width, height, scheme)
    assert browser.complaints() == []
    assert set(browser.requests()) == {path.as_uri()}
    assert (
        browser.value("[innerWidth, document.documentElement.scrollWidth].join()")
        == f"{width},{width}"
    )
    assert browser.value(
        "[...document.querySelectorAll('.scroll')].every(box => box.getBoundingClientRect().right"
        " <= innerWidth)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_browser_draws_every_picture_of_the_report(browser, page, tmp_path, size, scheme) -> None:
    alone = shutil.copy(page, tmp_path / "alone.html")  # it needs nothing beside it
    check_page(browser, alone, *SIZES[size], scheme)
    found = drawn(browser)
    assert len(found) == len(list((page.parent / "plots").iterdir()))
    assert {name: shapes for name, shapes in found.items() if shapes < 5} == {}
    assert found["plot-slices-ctr-0"] > 39  # a bar each, but for the hole
    assert (
        browser.value("getComputedStyle(document.body).backgroundColor")
        == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 23, 29)"}[scheme]
    )
    assert (
        browser.value("document.querySelectorAll('main img').length") == 0
    )  # hostile labels stayed text


@pytest.mark.parametrize("size", SIZES)
def test_a_browser_draws_every_picture_of_a_comparison(browser, comparison, size) -> None:
    check_page(browser, comparison[0], *SIZES[size], "light")
    found = drawn(browser)
    assert list(found) == ["plot-T2-ctr-0", "plot-T3-cvr-0"]
    assert min(found.values()) > 5


def test_a_series_is_hidden_and_shown_by_its_button(browser, page) -> None:
    browser.open(page, *SIZES["desktop"])
    # Shapes in the colour of the series: all shapes also hold the grid, which follows measured
    # speeds.
    painted = """(() => {
        const colour = getComputedStyle(
            document.querySelector('[data-for=plot-T4-cvr-1] button .swatch')).backgroundColor;
        const styles = [...document.querySelectorAll('#plot-T4-cvr-1 svg path')]
            .map(path => getComputedStyle(path));
        return styles
            .filter(style => style.fill === colour || style.stroke === colour).length; })()"""
    shapes = [browser.value(painted)]
    for _ in range(2):
        browser.value("document.querySelector('[data-for=plot-T4-cvr-1] button').click()")
        browser.value(
            "echarts.getInstanceByDom(document.getElementById('plot-T4-cvr-1')).getZr().flush()"
        )  # it paints with the next frame
        shapes.append(browser.value(painted))
    assert shapes[1] == 0 < shapes[0] == shapes[2]


def test_the_checks_would_see_an_error_a_request_and_an_overflow(browser, tmp_path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<div class="plot" id="empty"></div><img src="http://127.0.0.1:9/x.png"><p'
        ' style="width:2000px">wide</p><script>boom()</script>'
    )
    browser.open(page, *SIZES["phone"])
    assert any("boom" in line for line in browser.complaints())
    assert "http://127.0.0.1:9/x.png" in browser.requests()
    assert browser.value("document.documentElement.scrollWidth") > 390
    assert drawn(browser) == {"empty": 0}


def test_a_comparison_says_who_gains_more_and_whether_the_rows_are_the_same(comparison) -> None:
    _, found = comparison
    assert found["same_rows"] == {"T2-ctr": True, "T3-cvr": False}
    ctr, cvr = found["answer"]
    assert re.search(
        r"On the same [\d,]+ rows, B less A is \N{MINUS SIGN}\d+\.\d\d points \(.*\): A gains"
        r" more\. One seed: chance in training is not covered\.$",
        ctr,
    )
    assert "not comparable row by row, since they judged other rows" in cvr
    changed = [
        row for row in found["config"] if not row["key"].endswith((".path", ".table"))
    ]  # they lie in other folders
    assert changed == [{"key": "lifecycle.expire_days", "a": "90", "b": "71"}]


def test_a_comparison_has_intervals_of_the_difference_where_rows_are_shared(comparison) -> None:
    tables = {table["table"]: table for table in comparison[1]["tables"]}
    lines = {
        (row["variant"], row["key"]): row
        for row in tables["T2"]["rows"]
        if row["baseline"] == "none"
    }
    kept, lost = (lines[variant, "roc_auc_lift_pct"] for variant in ("shuffled", "all"))
    assert kept["a"] == kept["b"]
    assert kept["b_less_a"] == "+0.00 (+0.00, +0.00)"
    points, low, high = (float(part) for part in re.findall(r"[-+][\d.]+", lost["b_less_a"]))
    assert low < points < high < 0
    roc = lines["all", "roc_auc"]
    assert float(roc["b_less_a"]) == pytest.approx(float(roc["b"]) - float(roc["a"]), abs=2e-4)
    assert [one["name"][0] for one in tables["T2"]["charts"][0]["series"]] == ["A", "B"]
    assert all("(" not in row["b_less_a"] for row in tables["T3"]["rows"])


def test_the_command_takes_two_factories_and_prints_one_object(monkeypatch, capsys) -> None:
    asked = []
    none = Table("config", "", "", "", "", "", (), ())
    found = Comparison(Path("c.html"), ("Neither.",), {"T2-ctr": True}, (), none)
    monkeypatch.setattr(
        "headwater.report.compare.write_compare",
        lambda *given: asked.append(given[:3]) or found,
    )
    cli(
        ["report", "--compare", "a.yaml", "b.yaml", "--out", "c.html", "--json"],
        standalone_mode=False,
    )
    cli(["report", "--compare", "a.yaml", "b.yaml"], standalone_mode=False)
    assert asked == [
        (Path("a.yaml"), Path("b.yaml"), Path("c.html")),
        (Path("a.yaml"), Path("b.yaml"), Path("compare.html")),
    ]
    assert (
        capsys.readouterr().out
        == '{"compare": "c.html", "answer": ["Neither."], "same_rows": {"T2-ctr": true},'
        ' "tables": [], "config": []}\nNeither.\nc.html\n'
    )


def test_as_csv_keeps_fields_that_only_later_rows_have() -> None:
    table = Table("t", "t", "c", "", "", "", (), ({"a": 1}, {"a": None, "b": {"c": [1, 2]}}))
    assert as_csv(table) == 'a,b.c\n1,\n,"[1, 2]"\n'
