"""The commands. Thin: each loads a factory or a reader, calls one verb of it and prints the answer."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as RichConsole
from rich.table import Table as RichTable

from headwater import __version__
from headwater.console import Console
from headwater.errors import ConfigError, HeadwaterError

app = typer.Typer(
    name="headwater",
    help="An embedding factory: learn user and item vectors once, upstream; serve them to every model downstream.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
)  # fmt: skip
out = RichConsole(highlight=False)

FactoryPath = Annotated[Path, typer.Option("--factory", help="The factory's config.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
LogKind = Annotated[str, typer.Option("--log", help="Log lines on stderr: text or json.")]
Day = Annotated[str, typer.Option("--day", help="A day, YYYY-MM-DD, in the factory's time zone.")]
Upstream = Annotated[str | None, typer.Option("--upstream", help="Whose space to search (default: the first declared).")]
Neighbours = Annotated[int, typer.Option("-k", min=1, help="How many.")]
DEFAULT = Path("factory.yaml")


def day_of(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a day; expected YYYY-MM-DD, such as 2022-04-25.") from None


def console_of(kind: str) -> Console:
    if kind not in ("text", "json"):
        raise ConfigError(f"--log {kind!r}: expected text or json.")
    return Console(json_lines=kind == "json")


def answer(value: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a JSON object, or let `show` print it for a person."""
    if as_json:
        print(json.dumps(value, default=str))
    else:
        show(value)


def plain_table(*columns: str, title: str) -> RichTable:
    """Print the title, and begin a table without rules: readable in a narrow terminal and in a log file."""
    out.print(title, style="bold")
    table = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def show_version(wanted: bool) -> None:
    if wanted:
        print(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False) -> None:
    pass


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the world, the factory and its warehouse.")] = Path("demo"),
    days: Annotated[int | None, typer.Option("--days", min=8, help="Days to simulate (default: the size's own).")] = None,
    size: Annotated[str, typer.Option("--size", help="tiny, small, medium or large.")] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another world.")] = 0,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Build a factory on the simulated ads world, run its days, print the lift tables and write the report."""
    from headwater.app.demo import run_demo

    console = console_of(log)
    result = run_demo(out_dir, days, size, seed, console)

    def show(found: dict[str, Any]) -> None:
        for table in found["tables"]:
            show_table(table)
        ceiling = found["best_reachable_auc"]
        out.print(f"\nThe best ROC-AUC that any model could reach here: click {ceiling['click']:.4f}, conversion {ceiling['conversion']:.4f}.")
        out.print(f"report   {found['report']}\nfactory  {found['factory']}")

    answer(result, as_json, show)


@app.command()
def init(
    recipe: Annotated[str, typer.Argument(help="A recipe's name; `headwater recipes` lists them.")],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data (adsworld is made there if it is empty).")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for factory.yaml and the warehouse.")],
    size: Annotated[str, typer.Option("--size", help="adsworld only: tiny, small, medium or large.")] = "small",
    seed: Annotated[int, typer.Option("--seed", help="adsworld only.")] = 0,
    days: Annotated[int | None, typer.Option("--days", min=1, help="adsworld only.")] = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write factory.yaml for a recipe."""
    from headwater.app.setup import init_factory

    path = init_factory(recipe, data, out_dir, size=size, seed=seed, days=days, console=console_of(log))
    answer({"factory": str(path)}, as_json, lambda found: out.print(f"wrote {found['factory']}\nnext: headwater check --factory {found['factory']}"))


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the recipes and where their data comes from."""
    from headwater.events.recipes import RECIPES

    listed = [{"recipe": r.name, "summary": r.summary, "source": r.source, "needs": list(r.needs)} for r in RECIPES.values()]

    def show(found: list[dict[str, Any]]) -> None:
        for entry in found:
            out.print(f"[bold]{entry['recipe']}[/bold]  {entry['summary']}\n    data: {entry['source']}\n    files: {', '.join(entry['needs'])}")

    if as_json:
        print(json.dumps({"recipes": listed}))
    else:
        show(listed)


@app.command()
def check(
    factory: FactoryPath = DEFAULT,
    explain: Annotated[bool, typer.Option("--explain", help="Print every value and where it came from.")] = False,
    as_json: AsJson = False,
) -> None:
    """Validate config and data: every problem at once, nothing written."""
    from headwater.app.setup import check_factory, explain_factory

    found = check_factory(factory)
    if explain:
        found["values"] = explain_factory(factory)

    def show(result: dict[str, Any]) -> None:
        for path, entry in result.get("values", {}).items():
            out.print(f"{path} = {entry['value']}  [dim]({entry['from']})[/dim]", markup=True)
        for name, span in result["logs"].items():
            out.print(f"log {name}: {span['first_day']} to {span['last_day']}")
        out.print(f"{factory}: no problems")

    answer(found, as_json, show)


@app.command()
def run(
    day: Day,
    factory: FactoryPath = DEFAULT,
    replace: Annotated[bool, typer.Option("--replace", help="Run a published day again from changed inputs, and every later day.")] = False,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run one day: judge, learn, embed, aggregate, gate, publish. A day done from the same inputs is left as it is."""
    from headwater.pipeline import Factory

    made = Factory.load(factory, console_of(log))
    try:
        report = made.run_day(day_of(day), replay=replace)
    finally:
        made.close()
    answer(report, as_json, lambda found: out.print(f"{found['day']}  edition {found['edition']}"))


@app.command()
def backfill(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    factory: FactoryPath = DEFAULT,
    report: Annotated[bool, typer.Option(help="Write the HTML report at the end.")] = True,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run many days. Interrupt it as you like: the same command goes on where it stopped."""
    from headwater.app.report import write_report
    from headwater.pipeline import Factory

    console = console_of(log)
    made = Factory.load(factory, console)
    try:
        days = [{"day": found["day"], "edition": found["edition"]} for found in made.backfill(day_of(start), day_of(end))]
    finally:
        made.close()
    page = None
    if report:
        try:
            page = str(write_report(factory, console=console))
        except HeadwaterError as error:  # the days are done all the same
            console.log(f"no report: {error}")

    def show(found: dict[str, Any]) -> None:
        out.print(f"{len(found['days'])} days done, {found['days'][-1]['day']} the last" + (f"\nreport   {page}" if page else ""))

    answer({"days": days, "report": page}, as_json, show)


@app.command()
def status(factory: FactoryPath = DEFAULT, as_json: AsJson = False) -> None:
    """Days, editions, the live one, spaces, coverage, freshness."""
    from headwater.reader import Reader

    def show(found: dict[str, Any]) -> None:
        out.print(f"{found['factory']}  {found['warehouse']}\nlive: {found['live'] or 'none'}\n")
        names = list(found["editions"][-1]["rows"]) if found["editions"] else []
        table = plain_table("day", "edition", *names, title="vectors published, and the share of that day's rows that were served one")
        for edition in found["editions"]:
            cells = [f"{edition['rows'].get(name, 0):,} ({edition['coverage'].get(name, 0):.0%})" for name in names]
            table.add_row(edition["day"], edition["digest"][:12], *cells)
        out.print(table)
        if found["editions"]:
            for name, space in found["editions"][-1]["spaces"].items():
                out.print(f"space of {name}: {space}")

    answer(Reader.load(factory).status(), as_json, show)


@app.command()
def lift(
    factory: FactoryPath = DEFAULT,
    table: Annotated[str, typer.Option("--table", help="T2 (CTR ranker) or T3 (CVR ranker).")] = "T2",
    as_json: AsJson = False,
) -> None:
    """An offline table: what each set of embeddings gains, with intervals."""
    from headwater.tables import load_table

    answer(load_table(factory, table).as_dict(), as_json, show_table)


@app.command()
def report(factory: FactoryPath = DEFAULT, as_json: AsJson = False, log: LogKind = "text") -> None:
    """Write the factory's HTML report: one file that opens offline."""
    from headwater.app.report import write_report

    path = write_report(factory, console=console_of(log))
    answer({"report": str(path)}, as_json, lambda found: out.print(found["report"]))


@app.command()
def lookup(
    entity: Annotated[str, typer.Argument(help="user or item.")],
    ids: Annotated[list[str], typer.Argument(help="One id or more.")],
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The vectors of entities, from the live edition."""
    from headwater.reader import Reader

    def show(found: dict[str, Any]) -> None:
        out.print(f"edition {found['edition']} ({found['digest'][:12]})")
        for value, by_name in found["vectors"].items():
            for name, vector in by_name.items():
                out.print(f"{entity} {value}  {name}  [{len(vector)}]  {' '.join(f'{x:+.3f}' for x in vector[:8])} ...", markup=False)

    answer(Reader.load(factory).lookup(entity, ids), as_json, show)


def show_neighbours(found: dict[str, Any]) -> None:
    table = plain_table("id", "cosine", title=f"{found['embedding']} near {found['query']}, edition {found['edition']}")
    for item in found["items"]:
        table.add_row(str(item["id"]), f"{item['score']:.4f}")
    out.print(table)


@app.command()
def similar(
    entity: Annotated[str, typer.Argument(help="item.")],
    value: Annotated[str, typer.Argument(metavar="ID")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The items most like an item, from the live edition."""
    from headwater.reader import Reader

    answer(Reader.load(factory).similar(entity, value, k, upstream), as_json, show_neighbours)


@app.command()
def retrieve(
    user: Annotated[str, typer.Argument(metavar="USER")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The items nearest to a user, from the live edition."""
    from headwater.reader import Reader

    answer(Reader.load(factory).retrieve(user, k, upstream), as_json, show_neighbours)


def show_table(found: dict[str, Any]) -> None:
    title = f"{found['table']}  {found['consumer'].upper()} ranker, {found['first_day']} to {found['last_day']}"
    rows = found["rows"]
    table = plain_table("arm", title=f"{title}, {rows[0]['n']:,} rows, {rows[0]['seeds']} seeds")
    for name in ("ROC-AUC", "lift % (interval)", "PR-AUC", "lift %", "log loss", "NE"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        base = row["arm"] == "none"
        table.add_row(
            row["arm"], f"{row['roc_auc']:.4f}",
            "" if base else f"{row['roc_auc_lift_pct']:+.2f} ({row['low']:+.2f}, {row['high']:+.2f})", f"{row['pr_auc']:.4f}",
            "" if base else f"{row['pr_auc_lift_pct']:+.2f}", f"{row['log_loss']:.4f}", f"{row['ne']:.4f}",
        )  # fmt: skip
    out.print(table)


def main() -> None:
    """Exit codes: 0 done, 2 a HeadwaterError (its message on stderr), 130 interrupted, 1 a bug (its traceback)."""
    start = time.perf_counter()
    try:
        app()
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        print(f"error: {error.filename}: {error.strerror}. Check the path and who may write there.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - start
        print(f"interrupted after {seconds:.0f} s; nothing is half-written, and the same command goes on from here", file=sys.stderr)
        os._exit(130)  # without waiting for workers


if __name__ == "__main__":
    main()
