"""The commands. Thin: each loads a factory or a reader, calls one verb of it and prints the
answer.
"""

from __future__ import annotations

import datetime as dt
import errno
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
from headwater.cli import exporting
from headwater.console import Console
from headwater.errors import ConfigError, HeadwaterError
from headwater.evaluation.table import Table

app = typer.Typer(
    name="headwater",
    help=(
        "An embedding factory: learn user and item vectors once, upstream; serve them to every"
        " model downstream."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
# A log file or a pipe has no width of its own: there, wide tables stay whole.
out = RichConsole(
    highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 240
)

FactoryPath = Annotated[Path, typer.Option("--factory", help="The factory's config.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
LogKind = Annotated[str, typer.Option("--log", help="Log lines on stderr: text or json.")]
Day = Annotated[str, typer.Option("--day", help="A day, YYYY-MM-DD, in the factory's time zone.")]
Upstream = Annotated[
    str | None,
    typer.Option("--upstream", help="Whose space to search (default: the first declared)."),
]
Neighbours = Annotated[int, typer.Option("-k", min=1, help="How many.")]
Mood = Annotated[
    float,
    typer.Option("--mood", min=0, help="adsworld only: how much taste jumps from day to day."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Publish an edition that a gate refuses, and write that down."),
]
OneLane = Annotated[
    str | None, typer.Option("--lane", help="One lane only (default: main, and every open lane).")
]
Lane = Annotated[str, typer.Option("--lane", help="A lane of factory.yaml.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as", help="Read as this consumer: what it has pinned, or else the live edition."
    ),
]
DEFAULT = Path("factory.yaml")
MAIN = "main"
MENDABLE = {
    errno.EACCES,
    errno.EPERM,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOSPC,
    errno.EFBIG,
    errno.EDQUOT,
    errno.EROFS,
}


def day_of(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a day; expected YYYY-MM-DD, such as 2022-04-25."
        ) from None


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
    """Print the title, and begin a table without rules: readable in a narrow terminal and in a log
    file.
    """
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
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for the world, the factory and its warehouse.")
    ] = Path("demo"),
    days: Annotated[
        int | None,
        typer.Option("--days", min=8, help="Days to simulate (default: the size's own)."),
    ] = None,
    size: Annotated[str, typer.Option("--size", help="tiny, small, medium or large.")] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Another seed, another world.")] = 0,
    mood: Mood = 0.0,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Build a factory on the simulated ads world, run its days, print the lift tables and write the
    report.
    """
    from headwater.cli.demo import run_demo

    console = console_of(log)
    result = run_demo(out_dir, days, size, seed, console, mood)

    def show(found: dict[str, Any]) -> None:
        for table in found["tables"]:
            show_table(Table.from_json(table))
        ceiling = found["best_reachable_auc"]
        out.print(
            f"\nThe best ROC-AUC that any model could reach here: click {ceiling['click']:.4f},"
            f" conversion {ceiling['conversion']:.4f}."
        )
        out.print(f"report   {found['report']}\nfactory  {found['factory']}")

    answer(result, as_json, show)


@app.command()
def init(
    recipe: Annotated[str, typer.Argument(help="A recipe's name; `headwater recipes` lists them.")],
    data: Annotated[
        Path,
        typer.Option("--data", help="Folder of the data (adsworld is made there if it is empty)."),
    ],
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for factory.yaml and the warehouse.")
    ],
    size: Annotated[
        str, typer.Option("--size", help="adsworld only: tiny, small, medium or large.")
    ] = "small",
    seed: Annotated[int, typer.Option("--seed", help="adsworld only.")] = 0,
    days: Annotated[int | None, typer.Option("--days", min=1, help="adsworld only.")] = None,
    mood: Mood = 0.0,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write factory.yaml for a recipe."""
    from headwater.cli.setup import init_factory

    path = init_factory(
        recipe, data, out_dir, size=size, seed=seed, days=days, mood=mood, console=console_of(log)
    )
    answer(
        {"factory": str(path)},
        as_json,
        lambda found: out.print(
            f"wrote {found['factory']}\nnext: headwater check --factory {found['factory']}"
        ),
    )


@app.command()
def recipes(as_json: AsJson = False) -> None:
    """List the recipes and where their data comes from."""
    from headwater.recipes import RECIPES

    listed = [
        {"recipe": r.name, "summary": r.summary, "source": r.source, "needs": list(r.needs)}
        for r in RECIPES.values()
    ]

    def show(found: list[dict[str, Any]]) -> None:
        for entry in found:
            out.print(
                f"[bold]{entry['recipe']}[/bold]  {entry['summary']}\n    data: {entry['source']}\n"
                f"    files: {', '.join(entry['needs'])}"
            )

    if as_json:
        print(json.dumps({"recipes": listed}))
    else:
        show(listed)


@app.command()
def check(
    factory: FactoryPath = DEFAULT,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print every value and where it came from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate config and data: every problem at once, nothing written."""
    from headwater.cli.setup import check_factory, explain_factory

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
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Run a missed, late or corrected day (again), and every later day."
        ),
    ] = False,
    force: Force = False,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run one day in every open lane: judge, learn, embed, aggregate, gate, publish. A day done
    from the same inputs is left as it is.
    """
    console = console_of(log)
    found = {
        name: run_lane(
            factory, name, console, lambda made: run_one(made, day_of(day), replace, force, lane)
        )
        for name in lanes_of(factory, lane)
    }
    reports = {name: report for name, report in found.items() if report is not None}

    def show(_: Any) -> None:
        for name, report in reports.items():
            out.print(
                f"{report['day']}  edition {report['edition']}"
                + (f"  lane {name}" if name != MAIN else "")
            )

    first = next(iter(reports))
    answer(reports[first] | ({"lanes": reports} if len(reports) > 1 else {}), as_json, show)


def lanes_of(factory: Path, lane: str | None) -> tuple[str, ...]:
    from headwater.config import load_config

    config = load_config(factory)
    names = (lane,) if lane is not None else config.open_lanes()
    for name in names:
        config.for_lane(name)  # every lane's faults, before the first is run
    if not names:
        raise ConfigError(
            f"{factory}: every lane is closed, so there is nothing to run. Open one under `lanes`."
        )
    return names


def first_of(made: Any, start: dt.date, asked: str | None) -> dt.date:
    """Where a backfill of a lane begins: a lane that began later, and was not asked for by name,
    goes on from its own first day.
    """
    days = made.days_done()
    return max(start, days[0]) if asked is None and made.lane != MAIN and days else start


def run_one(made: Any, day: dt.date, replace: bool, force: bool, asked: str | None) -> Any:
    """A day of a lane; None for one that began later, unless it was asked for by name: a day
    slipped in before it would change its space.
    """
    days = made.days_done()
    if asked is None and made.lane != MAIN and days and day < days[0]:
        made.console.log(f"lane {made.lane} began on {days[0]}; {day} is passed over")
        return None
    return made.run_day(day, replace, force)


def run_lane(factory: Path, lane: str, console: Console, work: Callable[[Any], Any]) -> Any:
    """Do some work with a factory as one of its lanes, and let go of its worker processes."""
    from headwater.pipeline.day import Factory

    if lane != MAIN:
        console.log(f"lane {lane}")
    made = Factory.load(factory, console, lane)
    try:
        return work(made)
    finally:
        made.close()


@app.command()
def backfill(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", help="Last day, YYYY-MM-DD.")],
    factory: FactoryPath = DEFAULT,
    report: Annotated[bool, typer.Option(help="Write the HTML report at the end.")] = True,
    force: Force = False,
    lane: OneLane = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Run many days in every open lane. Interrupt it as you like: the same command goes on where it
    stopped.
    """
    from headwater.report.report import write_report

    console, by_lane = console_of(log), {}
    for name in lanes_of(factory, lane):
        ran = run_lane(
            factory,
            name,
            console,
            lambda made: list(
                made.backfill(first_of(made, day_of(start), lane), day_of(end), force)
            ),
        )
        by_lane[name] = [{"day": found["day"], "edition": found["edition"]} for found in ran]
    days = next(iter(by_lane.values()))
    page = None
    if report:
        try:
            page = str(write_report(factory, console=console))
        except HeadwaterError as error:  # the days are done all the same
            console.log(f"no report: {error}")

    def show(found: dict[str, Any]) -> None:
        out.print(
            f"{len(found['days'])} days done, {found['days'][-1]['day']} the last"
            + (f"\nreport   {page}" if page else "")
        )

    answer(
        {"days": days, "report": page} | ({"lanes": by_lane} if len(by_lane) > 1 else {}),
        as_json,
        show,
    )


@app.command()
def status(factory: FactoryPath = DEFAULT, as_json: AsJson = False) -> None:
    """Days, editions, the live one, spaces, coverage, freshness."""
    from headwater.serving.reader import Reader

    def show(found: dict[str, Any]) -> None:
        lane_note = (
            f" (lane {found['live_lane']})" if found["live_lane"] not in (None, MAIN) else ""
        )
        out.print(
            f"{found['factory']}  {found['warehouse']}\nlive:"
            f" {found['live'] or 'none'}{lane_note}\n"
        )
        kept = [edition for edition in found["editions"] if edition["rows"]]
        names = list(kept[-1]["rows"]) if kept else []
        table = plain_table(
            "day",
            "edition",
            *names,
            "",
            title="vectors published, and the share of that day's rows that were served one",
        )
        for edition in found["editions"]:
            cells = [
                f"{edition['rows'].get(name, 0):,} ({edition['coverage'].get(name, 0):.0%})"
                for name in names
            ]
            notes = [
                *(["live"] if edition["live"] else []),
                *(f"pinned by {name}" for name in edition["pinned_by"]),
                *([f"lane {edition['lane']}"] if edition["lane"] != MAIN else []),
                *(["by force"] if edition["forced"] else []),
                *(["removed by retention"] if not edition["rows"] else []),
            ]
            table.add_row(edition["day"], edition["digest"][:12], *cells, ", ".join(notes))
        out.print(table)
        for lane, days in found["withdrawn"].items():
            out.print(
                f"rolled back: {', '.join(days)}" + (f" (lane {lane})" if lane != MAIN else "")
            )
        for lane in dict.fromkeys(edition["lane"] for edition in kept):
            for name, space in [edition for edition in kept if edition["lane"] == lane][-1][
                "spaces"
            ].items():
                out.print(f"space of {name}: {space}" + (f" (lane {lane})" if lane != MAIN else ""))

    answer(Reader.load(factory).status(), as_json, show)


@app.command()
def lift(
    factory: FactoryPath = DEFAULT,
    table: Annotated[
        str,
        typer.Option(
            "--table",
            help=(
                "T1 (policies), T2 (CTR ranker), T3 (CVR ranker), T2-subsets, T3-subsets, T4"
                " (projection "
                "width), T7 (upstream ablations), T8 (retrieval), staleness, contribution, slices, "
                "calibration."
            ),
        ),
    ] = "T2",
    consumer: Annotated[
        str | None, typer.Option("--consumer", help="Another consumer than the table's usual one.")
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            "--core-hour-price", min=0, help="T4: what an hour of one core costs, in any currency."
        ),
    ] = None,
    rows_a_day: Annotated[
        float | None,
        typer.Option(
            "--rows-a-day",
            min=1,
            help="T4: rows that the ranker learns a day (default: this log's).",
        ),
    ] = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """An offline table: what embeddings gain, where, for how long and at what price, with
    intervals.
    """
    from headwater.cli.lifting import LiftOptions, make_table

    made = make_table(factory, LiftOptions(table, consumer, price, rows_a_day), console_of(log))
    answer(made.as_json(), as_json, lambda _: show_table(made))


@app.command()
def report(
    factory: FactoryPath = DEFAULT,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--compare", metavar="A B", help="Two factories' configs, to set side by side."
        ),
    ] = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="With --compare: the page to write.")
    ] = Path("compare.html"),
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write the factory's HTML report: one file that opens offline, with its tables as CSV and its
    plots as PNG beside it. Or compare two factories.
    """
    if compare is not None:
        from headwater.report.compare import write_compare

        found = write_compare(*compare, out_file, console_of(log))
        answer(
            found, as_json, lambda said: out.print("\n".join((*said["answer"], said["compare"])))
        )
        return
    from headwater.report.report import write_report

    path = write_report(factory, console=console_of(log))
    answer({"report": str(path)}, as_json, lambda found: out.print(found["report"]))


@app.command()
def lookup(
    entity: Annotated[str, typer.Argument(help="user or item.")],
    ids: Annotated[list[str], typer.Argument(help="One id or more.")],
    consumer: As = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The vectors of entities, from the live edition."""
    from headwater.serving.reader import Reader

    def show(found: dict[str, Any]) -> None:
        out.print(f"edition {found['edition']} ({found['digest'][:12]})")
        for value, by_name in found["vectors"].items():
            for name, vector in by_name.items():
                rows = vector if isinstance(vector[0], list) else [vector]
                mark = (
                    "  (of its content alone: never seen)"
                    if name in found["content_only"].get(value, ())
                    else ""
                )
                for row in rows:  # a policy may serve a sequence, newest first
                    out.print(
                        f"{entity} {value}  {name}  [{len(row)}] "
                        f" {' '.join(f'{x:+.3f}' for x in row[:8])} ...{mark}",
                        markup=False,
                    )

    answer(Reader.load(factory, consumer).lookup(entity, ids), as_json, show)


def show_neighbours(found: dict[str, Any], score: str = "cosine") -> None:
    table = plain_table(
        "id", score, title=f"{found['embedding']} near {found['query']}, edition {found['edition']}"
    )
    for item in found["items"]:
        table.add_row(str(item["id"]), f"{item['score']:.4f}")
    out.print(table)


@app.command()
def similar(
    entity: Annotated[str, typer.Argument(help="item.")],
    value: Annotated[str, typer.Argument(metavar="ID")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    consumer: As = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The items most like an item, from the live edition."""
    from headwater.serving.reader import Reader

    answer(
        Reader.load(factory, consumer).similar(entity, value, k, upstream), as_json, show_neighbours
    )


@app.command()
def retrieve(
    user: Annotated[str, typer.Argument(metavar="USER")],
    k: Neighbours = 10,
    upstream: Upstream = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help="Only items whose row of the item table says so; also with "
            "!=, <, <=, > or >=. Of several = on one column, one is enough.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="ID", help="Not this item.")
    ] = None,
    ids_from: Annotated[
        Path | None, typer.Option("--ids-from", help="Only the items of this file, one id a line.")
    ] = None,
    unseen: Annotated[
        bool,
        typer.Option("--exclude-seen", help="Not the items that stand beside the user in the log."),
    ] = False,
    consumer: As = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """The best items for a user, from the live edition; filtered answers are exact."""
    from headwater.serving.reader import Reader

    found = Reader.load(factory, consumer).retrieve(
        user,
        k,
        upstream,
        where or (),
        exclude or (),
        None if ids_from is None else ids_of(ids_from),
        unseen,
    )
    answer(found, as_json, lambda shown: show_neighbours(shown, "score"))


def ids_of(file: Path) -> list[str]:
    """The ids of a file, one a line."""
    try:
        return [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--ids-from {file}: cannot be read ({error}); expected text, one id a line."
        ) from None


@app.command()
def promote(
    day: Annotated[str, typer.Argument(help="The day whose edition readers follow from now on.")],
    factory: FactoryPath = DEFAULT,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Switch readers to a published day, or to another lane, in one atomic step."""
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import promote as to_live

    with open_warehouse(factory, lane=lane) as (warehouse, config):
        live_answer(to_live(warehouse, config, lane, day_of(day)), as_json)


@app.command()
def rollback(
    to: Annotated[
        str | None,
        typer.Option("--to", help="The day to go back to (default: the one before the live one)."),
    ] = None,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Take readers and averages back to an earlier day, in one atomic step; the next day continues
    from there.
    """
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import rollback as back

    with open_warehouse(factory, settled=False) as (warehouse, config):
        live_answer(back(warehouse, config, day_of(to) if to is not None else None), as_json)


@app.command()
def pin(
    consumer: Annotated[str, typer.Argument(help="Who reads the pinned edition, with --as.")],
    day: Annotated[str, typer.Argument(help="The day to stay on.")],
    factory: FactoryPath = DEFAULT,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Keep a consumer on one edition while others move on; retention keeps that edition."""
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import pin as hold

    with open_warehouse(factory, lane=lane) as (warehouse, config):
        live_answer(hold(warehouse, config, consumer, lane, day_of(day)), as_json)


@app.command()
def unpin(
    consumer: Annotated[str, typer.Argument()],
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let a consumer follow the live edition again."""
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import unpin as let_go

    with open_warehouse(factory) as (warehouse, config):
        live_answer(let_go(warehouse, config, consumer), as_json)


def live_answer(catalog: Any, as_json: bool) -> None:
    live = catalog.live
    lane = live.lane if live else MAIN
    found: dict[str, Any] = {
        "live": str(live.entry.day) if live else None,
        "lane": lane,
        "digest": live.entry.digest if live else None,
        "pins": {name: str(pin.entry.day) for name, pin in catalog.pins.items()},
        "withdrawn": [str(entry.day) for entry in catalog.lane(lane).withdrawn],
    }

    def show(_: Any) -> None:
        out.print(
            f"live: {found['live']} (lane {lane}), edition {live.entry.digest[:12]}"
            if live
            else "live: none"
        )
        for name, day in found["pins"].items():
            out.print(f"pinned by {name}: {day}")
        if found["withdrawn"]:
            out.print(f"rolled back: {', '.join(found['withdrawn'])}")

    answer(found, as_json, show)


@app.command()
def compact(factory: FactoryPath = DEFAULT, lane: Lane = MAIN, as_json: AsJson = False) -> None:
    """Rewrite the newest edition of a lane into one segment a snapshot, and remove what no edition
    needs (a run does so when it is due).
    """
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import compact_where_due, retire

    with open_warehouse(factory, lane=lane) as (warehouse, config):
        found = {
            "compacted": compact_where_due(warehouse, config, lane, always=True),
            "removed": retire(warehouse, config),
        }
    answer(
        found,
        as_json,
        lambda _: out.print(
            f"compacted: {', '.join(found['compacted']) or 'nothing'}\nremoved:"
            f" {len(found['removed'])} folders"
        ),
    )


@app.command()
def align(
    lane: Annotated[str, typer.Option("--lane", help="The lane whose new space is turned.")],
    onto: Annotated[
        str, typer.Option("--onto", help="The lane whose space, and rankers, it takes over.")
    ] = MAIN,
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Lay a lane's new space upon another's by a rotation, so that its readers go on without
    retraining; refuses where that would mislead.
    """
    from headwater.cli.setup import open_warehouse
    from headwater.lifecycle import align_lane

    def show(found: dict[str, Any]) -> None:
        columns = ("upstream", "shared", "cosine raw", "aligned", "residual")
        table = plain_table(
            *columns,
            title=(
                f"{lane} laid upon {onto}, {found['day']}, on other entities than it was fitted on"
            ),
        )
        for name, fit in found["upstreams"].items():
            table.add_row(
                name,
                f"{fit['shared']:,}",
                f"{fit['cosine_raw']:.3f}",
                f"{fit['cosine']:.3f}",
                f"{fit['residual']:.3f}",
            )
        out.print(table)
        out.print(f"next: headwater promote {found['day']} --lane {lane} --factory {factory}")

    with open_warehouse(factory, lane=lane) as (warehouse, config):
        answer(align_lane(warehouse, config, lane, onto), as_json, show)


@app.command()
def erase(
    entity: Annotated[str, typer.Argument(help="user, item...")],
    ids: Annotated[list[str], typer.Argument(help="One id or more.")],
    factory: FactoryPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Remove entities from every place of the warehouse, for good, and write the proof."""
    from headwater.cli.setup import erase_entities

    def show(found: dict[str, Any]) -> None:
        table = plain_table(
            "place", "looked at", "removed", title=f"erased: {len(ids)} {entity} ids"
        )
        for place in found["places"]:
            table.add_row(
                place["place"],
                f"{place.get('rows', place.get('files', 0)):,}",
                f"{place['removed']:,}",
            )
        out.print(table)
        if not any(place["removed"] for place in found["places"]):
            out.print(
                "no row of these ids was found anywhere: check their spelling. They are kept out"
                " from now on."
            )
        for line in found["not_removed"]:
            out.print(f"not removed: {line}", markup=False)
        out.print(f"proof    {found['proof']}", markup=False)

    answer(erase_entities(factory, entity, ids), as_json, show)


@app.command()
def rebuild(
    out_dir: Annotated[
        Path, typer.Option("--out", help="An empty folder: a warehouse of its own.")
    ],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="As in factory.yaml, such as '{kind: mean, k: 7}' (default: the declared one).",
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First day (default: the first that is kept).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last day (default: the last).")] = None,
    factory: FactoryPath = DEFAULT,
    lane: Lane = MAIN,
    as_json: AsJson = False,
) -> None:
    """Make the editions again from the daily snapshots, under any policy or window, without
    training anything.
    """
    from headwater.cli.setup import open_warehouse
    from headwater.config import parse_policy
    from headwater.lifecycle import rebuild as fold

    given = parse_policy(policy) if policy is not None else None
    first, last = (day_of(text) if text is not None else None for text in (start, end))
    with open_warehouse(factory, lane=lane) as (warehouse, config):
        days = fold(warehouse, config, lane, out_dir, given, first, last)
    found = {"warehouse": str(out_dir), "days": days}
    answer(
        found,
        as_json,
        lambda _: out.print(
            f"{len(days)} editions, {days[0]['day']} to {days[-1]['day']}, in {out_dir}"
        ),
    )


def show_table(made: Table) -> None:
    used = [column for column in made.columns if any(column.show(row) for row in made.rows)]
    table = plain_table(
        *[column.title for column in used[:1]],
        title=f"{made.name}  {made.title}, {made.first_day} to {made.last_day}",
    )
    for column in used[1:]:
        table.add_column(column.title, justify="right" if column.spec else "left", overflow="fold")
    for row in made.rows:
        table.add_row(*(column.show(row) for column in used))
    out.print(table)
    for line in (made.answer, *made.notes):
        out.print(line, markup=False)


exporting.register(app)


def main() -> None:
    """Exit codes: 0 done, 2 a HeadwaterError (its message on stderr), 130 interrupted, 1 a bug (its
    traceback).
    """
    start = time.perf_counter()
    try:
        app()
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        print(
            f"error: {error.filename}: {error.strerror}. Check the path, who may write there and"
            " whether the disk is full.",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - start
        print(
            f"interrupted after {seconds:.0f} s; nothing is half-written, and the same command goes"
            " on from here",
            file=sys.stderr,
        )
        os._exit(130)  # without waiting for workers


if __name__ == "__main__":
    main()
