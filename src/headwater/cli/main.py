"""The `headwater` command: every verb in the order of `--help`, and what errors become.

The commands are thin, a file a family. Each loads a factory or a reader, calls one verb of it and
prints the answer. What is slow to import is imported inside the commands.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Annotated

import typer

from headwater.cli import begin, days, editions, evidence, exporting, lake, reading
from headwater.errors import HeadwaterError
from headwater.version import __version__

COMMANDS = (
    begin.demo,
    begin.init,
    begin.recipes,
    begin.check,
    lake.ingest,
    days.run,
    days.backfill,
    days.status,
    evidence.lift,
    evidence.report,
    reading.lookup,
    reading.similar,
    reading.retrieve,
    editions.promote,
    editions.rollback,
    editions.pin,
    editions.unpin,
    editions.compact,
    editions.align,
    editions.erase,
    editions.rebuild,
    exporting.training_set,
)
# What a person can mend, and so no bug: paths, permissions, a full disk.
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
INTERRUPTED = 130

app = typer.Typer(
    name="headwater",
    help=(
        "An embedding factory: learn user and item vectors once, upstream;"
        " serve them to every model downstream."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
export = typer.Typer(
    help="Hand what was published to another system.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def show_version(wanted: bool) -> None:
    """Print the version and stop, where it was asked for."""
    if wanted:
        print(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    pass


@export.callback()
def targets() -> None:
    pass


for command in COMMANDS:
    app.command(command.__name__.replace("_", "-"))(command)
export.command()(exporting.feast)
app.add_typer(export, name="export")


def main() -> None:
    """Run a command and exit with 0 where it is done.

    Otherwise with 2 for a HeadwaterError (its message on stderr), 130 where it was interrupted,
    1 for a bug (its traceback).
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
            f"error: {error.filename}: {error.strerror}."
            " Check the path, who may write there and whether the disk is full.",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        seconds = time.perf_counter() - start
        print(
            f"interrupted after {seconds:.0f} s; nothing is half-written,"
            " and the same command goes on from here",
            file=sys.stderr,
        )
        os._exit(INTERRUPTED)  # without waiting for workers


if __name__ == "__main__":
    main()
