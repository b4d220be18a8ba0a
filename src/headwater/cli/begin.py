"""The commands before a factory runs: demo, init, recipes, check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.options import FACTORY_YAML, AsJson, FactoryPath, LogKind, console_of
from headwater.cli.terminal import answer, out, show_table

Mood = Annotated[
    float,
    typer.Option("--mood", min=0, help="adsworld only: how much taste jumps from day to day."),
]
Users = Annotated[
    int | None,
    typer.Option("--users", min=1, help="adsworld only: how many (default: the size's own)."),
]
OfChurn = Annotated[
    bool,
    typer.Option(
        "--churn",
        help="adsworld only: a content site, pages of items with one click each, most of them new.",
    ),
]
PageSize = Annotated[
    int | None, typer.Option("--page-size", help="With --churn: items on a page (default: 10).")
]
FreshShare = Annotated[
    float | None,
    typer.Option(
        "--fresh-share",
        help="With --churn: share of a page's places for items of the same day (default: 0.65).",
    ),
]


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
    users: Users = None,
    churn: OfChurn = False,
    page_size: PageSize = None,
    fresh_share: FreshShare = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Build a factory on the simulated ads world, run its days, print the lift tables
    and write the report.
    """
    from headwater.cli.demo import run_demo
    from headwater.cli.worlds import WorldOptions

    world = WorldOptions(size, seed, days, mood, users, churn, page_size, fresh_share)
    made = run_demo(out_dir, world, console_of(log))

    def show(_: Any) -> None:
        for table in made.tables:
            show_table(table)
        ceiling = ", ".join(f"{what} {auc:.4f}" for what, auc in made.best_reachable_auc.items())
        out.print(f"\nThe best ROC-AUC that any model could reach here: {ceiling}.")
        out.print(f"report   {made.report}\nfactory  {made.factory}")

    answer(made.as_json(), as_json, show)


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
    users: Users = None,
    churn: OfChurn = False,
    page_size: PageSize = None,
    fresh_share: FreshShare = None,
    as_json: AsJson = False,
    log: LogKind = "text",
) -> None:
    """Write factory.yaml for a recipe."""
    from headwater.cli.factories import init_factory
    from headwater.cli.worlds import WorldOptions

    world = WorldOptions(size, seed, days, mood, users, churn, page_size, fresh_share)
    path = init_factory(recipe, data, out_dir, world, console_of(log))

    def show(_: Any) -> None:
        out.print(f"wrote {path}\nnext: headwater check --factory {path}")

    answer({"factory": str(path)}, as_json, show)


def recipes(as_json: AsJson = False) -> None:
    """List the recipes and where their data comes from."""
    from headwater.recipes import RECIPES

    listed = [
        {"recipe": r.name, "summary": r.summary, "source": r.source, "needs": list(r.needs)}
        for r in RECIPES.values()
    ]

    def show(_: Any) -> None:
        for recipe in RECIPES.values():
            out.print(
                f"[bold]{recipe.name}[/bold]  {recipe.summary}\n    data: {recipe.source}\n"
                f"    files: {', '.join(recipe.needs)}"
            )

    answer({"recipes": listed}, as_json, show)


def check(
    factory: FactoryPath = FACTORY_YAML,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print every value and where it came from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Validate config and data: every problem at once, nothing written."""
    from headwater.cli.checking import check_factory
    from headwater.cli.explaining import explain_factory

    found = check_factory(factory).as_json()
    if explain:
        found["values"] = {
            path: value.as_json() for path, value in explain_factory(factory).items()
        }

    def show(_: Any) -> None:
        for path, entry in found.get("values", {}).items():
            out.print(f"{path} = {entry['value']}  [dim]({entry['from']})[/dim]", markup=True)
        for name, span in found["logs"].items():
            out.print(f"log {name}: {span['first_day']} to {span['last_day']}")
        for note in found["notes"]:
            out.print(f"note: {note}")
        out.print(f"{factory}: no problems")

    answer(found, as_json, show)
