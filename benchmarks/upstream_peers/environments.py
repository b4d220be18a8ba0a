"""One virtual environment per peer under `.bench/`, with pinned versions; torch is this
interpreter's own, not fetched again.

python -m benchmarks.upstream_peers.environments [NAME ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent.parent / ".bench"

# Requirements are named in full and installed without following them, where following them would
# fetch CUDA builds or versions that no longer exist for this Python. The second list is installed
# with what it requires.
PINS: dict[str, tuple[list[str], list[str]]] = {
    "deepctr": (
        ["deepctr-torch==0.2.9"],
        ["tensorflow-cpu==2.21.0", "pandas==2.3.3", "scikit-learn", "tqdm"],
    ),
    "rechub": (["torch-rechub==0.9.0"], ["pandas==2.3.3", "scikit-learn", "tqdm"]),
    "torchrec": (
        ["torchrec==1.8.0"],
        [
            "fbgemm-gpu-cpu==1.8.0",
            "tensordict",
            "pyre-extensions",
            "torchmetrics==1.0.3",
            "tqdm",
            "pandas==2.3.3",
        ],
    ),
    "recbole": (
        ["recbole==1.2.1", "thop==0.1.1.post2209072238"],
        [
            "numpy==1.26.4",
            "pandas==2.2.3",
            "scipy==1.13.1",
            "scikit-learn==1.5.2",
            "pyarrow==25.0.1",
            "colorlog==4.7.2",
            "colorama==0.4.4",
            "pyyaml",
            "tensorboard",
            "tabulate",
            "plotly",
            "texttable",
            "psutil",
            "tqdm",
        ],
    ),
    "fuxictr": (
        ["fuxictr==2.3.10"],
        [
            "ray[data]==2.60.0",
            "pandas==2.3.3",
            "h5py",
            "polars",
            "pyarrow",
            "pydantic",
            "pyyaml",
            "scikit-learn",
            "tqdm",
        ],
    ),
}


class NotInstalled(Exception):
    """Why a peer cannot take part."""


def interpreter(name: str) -> Path:
    """The Python of a peer's environment; makes the environment first where it is not there. Raises
    NotInstalled.
    """
    home = HOME / name
    python, done = home / "bin" / "python", home / ".ready"
    wanted = repr(PINS[name])
    if done.exists() and done.read_text() == wanted:
        return python
    done.unlink(missing_ok=True)
    without, following = PINS[name]
    HOME.mkdir(exist_ok=True)
    limits = HOME / "constraints.txt"
    limits.write_text("torch==2.13.0\n")
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    site = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    Path(site, "zz_shared.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )  # after the environment's own
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        str(limits),
    ]
    _run(*pip, *following)
    _run(*pip, "--no-deps", *without)
    done.write_text(wanted)
    return python


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=900)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(
            next(
                (line for line in reversed(error.stderr.splitlines()) if "ERROR" in line),
                error.stderr[-200:],
            )
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled("pip took longer than 15 minutes") from error


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(PINS), metavar="NAME")
    for name in parser.parse_args().names:
        try:
            print(f"{name:10} {interpreter(name)}", flush=True)
        except NotInstalled as reason:
            print(f"{name:10} not installed: {reason}", flush=True)


if __name__ == "__main__":
    main()
