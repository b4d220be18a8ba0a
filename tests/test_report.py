"""The report: one file, whole, offline."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from conftest import day
from headwater.app.report import verdict, write_report
from headwater.evaluation import Lift
from headwater.tables import Table


@pytest.fixture(scope="module")
def page(done):
    return write_report(done)


def test_the_page_holds_every_figure_and_fetches_nothing(page) -> None:
    text = page.read_text()
    data = json.loads(re.search(r"const data = (\{.*?\});\n", text).group(1))
    assert [table["table"] for table in data["tables"]] == ["T2", "T3"]
    assert data["days"] == [str(day(n)) for n in range(4)]
    assert sum(len(points) for points in data["map"]["groups"].values()) == data["map"]["items"] > 0
    assert data["cosine"]["ctr_user"][0] is None
    assert data["cosine"]["ctr_user"][-1] > 0
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)\s*=|url\(|@import", markup)


def lift(arm: str, low: float, high: float) -> Lift:
    return Lift(arm, 0.7, (low + high) / 2, low, high, 0.3, 0.0, 0.5, 0.9, 3, 100)


def table(*rows: Lift) -> Table:
    return Table("T2", "ctr", "2025-01-01", "2025-01-02", (lift("none", 0, 0), *rows))


def test_the_answer_says_what_the_interval_allows_and_no_more() -> None:
    assert "raises ROC-AUC by 2.00 %" in verdict(table(lift("all", 1, 3), lift("shuffled", -1, 1)))
    assert "no effect is shown" in verdict(table(lift("all", -1, 3)))
    assert "lowers ROC-AUC by 2.00 %" in verdict(table(lift("all", -3, -1)))
    assert "Beware: the shuffled control lifts too" in verdict(table(lift("all", 1, 3), lift("shuffled", 0.5, 1)))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_every_picture_without_errors(page, tmp_path, width) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: install the package `chromium` to draw the report in a browser")
    copy = tmp_path / "report.html"
    probe = "<script>window.onerror = (m) => document.title = 'ERROR ' + m;</script>"
    copy.write_text(page.read_text().replace("<head>", f"<head>{probe}", 1))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=4000"]  # fmt: skip
    ran = subprocess.run([browser, *flags, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=60, check=False)
    assert "<title>ERROR" not in ran.stdout
    drawn = re.findall(r'<div class="plot[^"]*" id="([\w-]+)"[^>]*>(.*?</svg>)', ran.stdout, flags=re.S)
    assert [name for name, _ in drawn] == ["lift-0", "lift-1", "daily", "coverage", "cosine", *(f"monitor-{n}" for n in range(4)), "map"]
    assert all(svg.count("<path") > 3 for _, svg in drawn)
