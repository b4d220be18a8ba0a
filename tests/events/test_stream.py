"""Streams of encoded rows, and the thread that makes batches ready."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import headwater.events.stream as stream_module
from headwater.errors import LogError, SchemaError
from headwater.events.encoding import context_block
from headwater.events.stream import RowStream
from headwater.models.loading import ahead, tensors
from headwater.schema import Categorical, Feature, MultiCategorical, Numeric, Timestamp

FEATURES: dict[str, Feature] = {
    "ad": Categorical(kind="categorical", buckets=50),
    "place": Categorical(kind="categorical", values=["top", "side"]),
    "tags": MultiCategorical(kind="multi_categorical", buckets=20, length=3, separator="|"),
    "price": Numeric(kind="numeric", log=False),
    "at": Timestamp(kind="timestamp", unit="s"),
}


def frame(rows: int, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "ad": generator.integers(0, 100, rows),
            "place": [("top", "side", "else", None)[i] for i in generator.integers(0, 4, rows)],
            "tags": [("a|b", "c", "", "a|d|e|f")[i] for i in generator.integers(0, 4, rows)],
            "price": generator.random(rows),
            "at": 1_700_000_000 + np.arange(rows),
            "click": generator.integers(0, 2, rows),
        }
    )


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for i, rows in enumerate((700, 1000)):
        paths.append(str(tmp_path / f"{i}.parquet"))
        frame(rows, i).write_parquet(paths[-1], row_group_size=300)
    return paths


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "FIRST_ROWS", 128)


def read(stream: RowStream, batch_rows: int, seed: int | None) -> list[list[np.ndarray]]:
    return [rows.arrays() for rows in stream.batches(batch_rows, seed)]


def test_a_stream_in_order_is_the_whole_log_encoded_at_once(
    files: list[str], tmp_path: Path
) -> None:
    whole = pl.concat([pl.read_parquet(file) for file in files])
    at = whole["at"].to_numpy() * 1_000_000
    block = context_block(
        whole, FEATURES, "log", stream_module.ZoneInfo("UTC"), dt.date(2030, 1, 1), at
    )
    wanted = [
        block.categorical_NC,
        *block.multi_NK,
        block.numeric_NF,
        whole["click"].to_numpy()[:, None],
    ]
    stream = RowStream(files, FEATURES, ["click"], kept=tmp_path / "kept")
    assert len(stream) == 1700
    for _ in ("encoded", "as kept"):
        batches = read(stream, 256, None)
        assert [len(arrays[0]) for arrays in batches] == [256] * 6 + [164]
        for found, expected in zip(
            (np.concatenate(column) for column in zip(*batches, strict=True)), wanted, strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    assert len(list((tmp_path / "kept").iterdir())) == 7  # row groups


def test_the_order_depends_on_the_seed_alone(files: list[str], tmp_path: Path) -> None:
    stream = RowStream(
        files,
        {"row": Numeric(kind="numeric", log=False)},
        [],
        kept=tmp_path / "kept",
        window_rows=400,
    )

    def order(seed: int, of: RowStream = stream) -> list[float]:
        return [float(x) for arrays in read(of, 100, seed) for x in arrays[0 + 1][:, 0]]

    first = order(1)
    assert order(1) == first  # from what was kept
    assert order(1, RowStream(files, stream.features, [], window_rows=400)) == first  # nothing kept
    assert order(2) != first
    rows = [*range(700), *range(1000)]
    assert sorted(first) == sorted(map(float, rows))
    assert first != sorted(first)


def test_windows_stay_within_their_bound(files: list[str]) -> None:
    stream = RowStream(files, FEATURES, ["click"], window_rows=256)
    sizes = [len(window) for window in stream._windows(np.random.default_rng(0))]
    assert sum(sizes) == 1700
    assert max(sizes) < 256 + 128
    assert sizes[0] <= 2 * 128


def test_a_changed_file_is_encoded_again(files: list[str], tmp_path: Path) -> None:
    def price() -> float:
        return float(
            sum(
                arrays[2][:, 0].sum()
                for arrays in read(
                    RowStream(files[:1], FEATURES, [], kept=tmp_path / "kept"), 512, None
                )
            )
        )

    before = price()
    frame(700).with_columns(price=pl.lit(2.0)).write_parquet(files[0])
    assert price() == pytest.approx(1400.0)
    assert before != pytest.approx(1400.0)


def test_a_reading_broken_off_leaves_no_half_part(files: list[str], tmp_path: Path) -> None:
    stream = RowStream(files, FEATURES, ["click"], kept=tmp_path / "kept")
    batches = stream.batches(100, None)
    next(batches)
    batches.close()
    assert not list((tmp_path / "kept").iterdir())
    assert sum(len(arrays[0]) for arrays in read(stream, 100, None)) == 1700


def test_what_a_stream_says_of_bad_files(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no column 'colour'"):
        RowStream(files, {"colour": Categorical(kind="categorical", buckets=9)}, [])
    (tmp_path / "cut.parquet").write_bytes(Path(files[0]).read_bytes()[:-50])
    with pytest.raises(LogError, match="cannot be read"):
        RowStream([str(tmp_path / "cut.parquet")], FEATURES, [])
    with pytest.raises(SchemaError, match="labels that are not numbers"):
        list(RowStream(files, {}, ["place"]).batches(10, None))


def test_tensors_of_a_stream(files: list[str]) -> None:
    batches = list(tensors(RowStream(files, FEATURES, ["click"]), 512, seed=3))
    assert [len(batch.labels_BL) for batch in batches] == [512, 512, 512, 164]
    features = batches[0].features
    assert features.categorical_BC.dtype == torch.int32
    assert (
        tuple(features.categorical_BC.shape),
        features.multi_BK[0].shape[1],
        features.numeric_BF.shape[1],
    ) == ((512, 2), 3, 1 + 4)


def test_ahead_gives_everything_in_order_and_no_more_than_its_depth() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    with ahead(numbers(), depth=2) as items:
        first = next(items)
        time.sleep(0.3)
        assert len(made) <= 1 + 2 + 1  # taken, waiting, and one in the thread's hand
        assert [first, *items] == list(range(20))


def test_an_error_in_the_thread_surfaces_after_what_came_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise LogError("part 2 is broken")

    seen = []
    with pytest.raises(LogError, match="part 2 is broken"), ahead(numbers()) as items:
        seen += list(items)
    with pytest.raises(TypeError), ahead(None) as items:  # type: ignore[arg-type]
        next(items)


def test_leaving_early_ends_the_thread_and_closes_the_source() -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    def loop() -> None:
        with ahead(numbers()) as items:
            next(items)
            raise RuntimeError("the loop stopped")

    with pytest.raises(RuntimeError, match="the loop stopped"):
        loop()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "headwater-ahead"]


def test_a_stream_says_which_features_it_cannot_give(files: list[str]) -> None:
    with pytest.raises(SchemaError, match="a should be hashed or have values"):
        RowStream(files, {"a": Categorical(vocabulary=10)}, ["click"])
    with pytest.raises(SchemaError, match="at should be read as cycles"):
        RowStream(files, {"at": Timestamp(read=("age",))}, ["click"])
