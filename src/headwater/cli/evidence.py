"""The commands that show what embeddings gain: lift, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.options import FACTORY_YAML, AsJson, FactoryPath, LogKind, console_of
from headwater.cli.terminal import answer, out, show_table
from headwater.evidence import STUDIES, ask, table_of, with_prices, with_upstream_seeds
from headwater.studies import listed

TableName = Annotated[str, typer.Option("--table", help=f"{listed(STUDIES)}.")]


def lift(
    factory: FactoryPath = FACTORY_YAML,
    table: TableName = "T2",
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
    upstream_seeds: Annotated[
        int | None,
        typer.Option(
            "--upstream-seeds",
            min=1,
            help="T2, T7: train the upstreams under so many seeds, so that intervals cover it.",
        ),
    ] = None,
    seeded: Annotated[
        list[str] | None,
        typer.Option(
            "--seeded",
            help="T7: an ablation to train under all of them; again for several (default: all).",
        ),
    ] = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """An offline table: what embeddings gain, where, for how long and at what price,
    with intervals.
    """
    from headwater.workspace import Workspace

    asked = ask(Workspace.load(factory), table, consumer, console_of(log))
    asked = with_upstream_seeds(asked, upstream_seeds, tuple(seeded or ()))
    made = table_of(with_prices(asked, price, rows_a_day))
    answer(made.as_json(), as_json, lambda _: show_table(made))


def report(
    factory: FactoryPath = FACTORY_YAML,
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
    """Write the factory's HTML report: one file that opens offline, with its tables as
    CSV and its plots as PNG beside it. Or compare two factories.
    """
    if compare is not None:
        _compare(compare, out_file, as_json, log)
        return
    from headwater.report.report import write_report

    path = write_report(factory, console=console_of(log))
    answer({"report": str(path)}, as_json, lambda found: out.print(found["report"]))


def _compare(factories: tuple[Path, Path], out_file: Path, as_json: bool, log: str) -> None:
    from headwater.report.compare import write_compare

    found = write_compare(*factories, out_file, console_of(log))

    def show(_: Any) -> None:
        out.print("\n".join((*found.answer, str(found.page))))

    answer(found.as_json(), as_json, show)
