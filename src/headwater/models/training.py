"""What every model here shares: tensors from examples, batches, optimisers, checkpoints.

All in one thread, so that bytes repeat. Shape suffixes: N rows, L events of a history.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headwater.embeddings.snapshot import day_number
from headwater.errors import ModelError
from headwater.events import Block, BlockSpec, Histories
from headwater.files import write_json
from headwater.nn import FeatureTensors, FeatureTokens, HistoryTensors, RowTable, RowwiseAdagrad


def seeded(*parts: int) -> int:
    """One seed out of several numbers (a model's seed, a day...), well mixed."""
    return int(np.random.SeedSequence([part % (1 << 32) for part in parts]).generate_state(1)[0])


def begin(seed: int) -> None:
    """One thread and a fixed seed: the same inputs give the same bytes."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)


def feature_tensors(block: Block, *id_slots: np.ndarray) -> FeatureTensors:
    """A block as tensors; `id_slots` are further categorical columns, put first."""
    columns = [slots[:, None] for slots in id_slots]
    categorical = np.hstack([*columns, block.categorical_NC]) if columns else block.categorical_NC
    return FeatureTensors(
        torch.from_numpy(np.ascontiguousarray(categorical)),
        tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in block.multi_NK),
        torch.from_numpy(np.ascontiguousarray(block.numeric_NF)),
        tuple(torch.from_numpy(np.ascontiguousarray(values)) for values in block.vectors_ND),
    )


def feature_tokens(spec: BlockSpec, width: int, ids: Sequence[int] = ()) -> FeatureTokens:
    """The network that reads a block's tensors.

    `ids` are the sizes of further id columns, put first.
    """
    learned = {column + len(ids): least for column, least in spec.learned}
    return FeatureTokens(
        [*ids, *spec.categorical],
        spec.multi,
        spec.numeric,
        spec.vectors,
        width,
        learned,
        spec.ranked,
    )


def id_slots(keys_N: np.ndarray, buckets: int) -> np.ndarray:
    """Slot of each key in a hashed table of `buckets` + 1 rows; slot 0 is for 'none' (key 0)."""
    return np.where(keys_N == 0, 0, 1 + (keys_N % np.uint64(buckets)).astype(np.int64))


def history_tensors(history: Histories, buckets: int) -> HistoryTensors:
    return HistoryTensors(
        torch.from_numpy(id_slots(history.keys_NL, buckets)),
        torch.from_numpy(history.actions_NL),
        torch.from_numpy(history.gaps_s_NL),
    )


def batches(rows: int, batch_rows: int, seed: int) -> Iterator[Tensor]:
    """`shuffled`, as tensors."""
    yield from map(torch.from_numpy, shuffled(rows, batch_rows, seed))


WINDOW_ROWS = 1 << 21
RUN_ROWS = 1 << 12


def shuffled(rows: int, batch_rows: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of one shuffled epoch, in batches of nearly equal size.

    Many rows are shuffled in windows of runs from all over the file, so that rows which lie on disk
    are read in pieces, and no more than a window of them is in use at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    if rows <= WINDOW_ROWS:
        parts = max(1, round(rows / batch_rows))
        for part in torch.randperm(rows, generator=generator).tensor_split(parts):
            yield part.numpy()
        return
    left = np.zeros(0, np.int64)
    for window in _windows(rows, generator):
        window = np.concatenate([left, window])
        whole = len(window) // batch_rows * batch_rows
        yield from np.split(window[:whole], whole // batch_rows) if whole else ()
        left = window[whole:]
    if len(left):
        yield left


def _windows(rows: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """All row numbers, in shuffled windows of runs from all over the file."""
    runs = torch.randperm(-(-rows // RUN_ROWS), generator=generator).numpy()
    for low in range(0, len(runs), WINDOW_ROWS // RUN_ROWS):
        window = np.concatenate(
            [
                np.arange(run * RUN_ROWS, min(rows, (run + 1) * RUN_ROWS))
                for run in runs[low : low + WINDOW_ROWS // RUN_ROWS]
            ]
        )
        yield window[torch.randperm(len(window), generator=generator).numpy()]


MOST_NORM = 10.0
WHAT_TO_DO = (
    "The last good checkpoint is kept. Look for extreme feature values; a lower learning_rate makes"
    " another space: give it a lane, or a new warehouse."
)


class Optimizers:
    """AdamW for the dense weights and row-wise Adagrad for the tables, stepped together.

    Both survive from day to day. A model that is a `Stack`'s is several, each with a loss and a
    length of gradient of its own.
    """

    def __init__(self, model: nn.Module, lr: float, id_lr: float, weight_decay: float) -> None:
        self.model = model
        self.dense = torch.optim.AdamW(
            model.parameters(), lr=lr, weight_decay=weight_decay, fused=True
        )
        self.rows = RowwiseAdagrad(
            [module for module in model.modules() if isinstance(module, RowTable)], id_lr
        )

    def step(self, loss: Tensor, where: str) -> float:
        """One update; returns the loss.

        Raises ModelError on a loss or a gradient that is not finite, before any weight changes.
        """
        value = loss.item()
        _expect_finite([value], [where])
        self._backward(loss)
        self._clip(where)
        self.dense.step()
        self.rows.step()
        return value

    def step_each(self, losses_S: Tensor, where: Sequence[str]) -> list[float]:
        """One update of each of the S models of a stack; returns their losses.

        Raises ModelError as `step` does, of the first that is at fault.
        """
        values: list[float] = losses_S.tolist()
        _expect_finite(values, where)
        self._backward(losses_S.sum())
        self._clip_each(where)
        self.dense.step()
        self.rows.step()
        return values

    def _backward(self, loss: Tensor) -> None:
        self.dense.zero_grad(set_to_none=True)
        loss.backward()

    @torch.no_grad()
    def _clip(self, where: str) -> None:
        """Make the dense gradients together at most `MOST_NORM` long.

        Those that are shorter, as nearly always, are not written again.
        """
        norm = nn.utils.get_total_norm(self._gradients(), foreach=True)
        if not norm.isfinite():
            raise ModelError(f"{where}: the gradient is not finite. {WHAT_TO_DO}")
        if norm > MOST_NORM:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), MOST_NORM, norm)

    @torch.no_grad()
    def _clip_each(self, where: Sequence[str]) -> None:
        """`_clip`, of gradients [S, ...]: each model's by their own length."""
        gradients = self._gradients()
        whole_SP = torch.cat([grad.reshape(len(grad), -1) for grad in gradients], dim=1)
        norms_S = torch.linalg.vector_norm(whole_SP, dim=1)
        for norm, of in zip(norms_S.tolist(), where, strict=True):
            if not np.isfinite(norm):
                raise ModelError(f"{of}: the gradient is not finite. {WHAT_TO_DO}")
        if (norms_S > MOST_NORM).any():
            shares_S = (MOST_NORM / (norms_S + 1e-6)).clamp(max=1)  # as torch clips
            for gradient in gradients:
                gradient.mul_(shares_S.view(-1, *[1] * (gradient.ndim - 1)))

    def _gradients(self) -> list[Tensor]:
        found = [parameter.grad for parameter in self.model.parameters()]
        return [gradient for gradient in found if gradient is not None]

    def state(self) -> dict[str, Tensor]:
        """What AdamW remembers, by the names of the parameters."""
        names: dict[Tensor, str] = {
            parameter: name for name, parameter in self.model.named_parameters()
        }
        return {
            f"adam.{what}.{names[parameter]}": value if value.ndim else value.reshape(1)
            for parameter, entry in self.dense.state.items()
            for what, value in entry.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, parameter in self.model.named_parameters():
            found = {
                what: tensors.get(f"adam.{what}.{name}")
                for what in ("step", "exp_avg", "exp_avg_sq")
            }
            if found["exp_avg"] is not None:
                assert found["step"] is not None
                moments = {
                    what: value.to(parameter.device)
                    for what, value in found.items()
                    if value is not None
                }
                self.dense.state[parameter] = moments | {"step": moments["step"].reshape(())}


def _expect_finite(losses: Sequence[float], where: Sequence[str]) -> None:
    for value, of in zip(losses, where, strict=True):
        if not np.isfinite(value):
            raise ModelError(f"{of}: the loss is {value}. {WHAT_TO_DO}")


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizers: Optimizers,
    meta: Mapping[str, Any],
    name: str = "model",
) -> None:
    """Write `name.safetensors`, and `name.json` with `meta`, into `folder`.

    Of a table, the rows that were ever learnt: the others are as the model's seed made them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    weights = {f"model.{key}": value for key, value in model.state_dict().items()}
    for path, table in _tables(model):
        rows_U = table.squares.nonzero()[:, 0]
        weights[f"rows.{path}"] = rows_U
        for part in ("weight", "squares"):
            key = f"model.{path}.{part}"
            weights[key] = weights[key][rows_U]
    whole = {key: value.contiguous() for key, value in weights.items()}
    save_file(whole | optimizers.state(), file)
    write_json(folder / f"{name}.json", {**meta, "weights": _digest(file)})


def _tables(model: nn.Module) -> Iterator[tuple[str, RowTable]]:
    """The tables of a model, by path."""
    for path, module in model.named_modules():
        if isinstance(module, RowTable):
            yield path, module


def is_whole(folder: Path, name: str = "model") -> bool:
    """Whether a checkpoint is there with the weights that were saved."""
    try:
        saved = json.loads((folder / f"{name}.json").read_text())
        return bool(saved.get("weights") == _digest(folder / f"{name}.safetensors"))
    except (OSError, ValueError):
        return False


def _digest(file: Path) -> str:
    return xxhash.xxh3_128_hexdigest(file.read_bytes())


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizers: Optimizers,
    meta: Mapping[str, Any],
    name: str = "model",
) -> Mapping[str, Any]:
    """Load the weights and what the optimisers remember; returns what was saved beside them.

    The model is as its seed made it: rows that were never learnt stay so. Raises ModelError where
    the files are damaged or were saved by a model of another shape: its signature is not that of
    `meta`.
    """
    file = folder / f"{name}.safetensors"
    try:
        saved = json.loads((folder / f"{name}.json").read_text())
        tensors = load_file(file)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{file}: cannot be read ({error}). Run that day again with --replace."
        ) from error
    if saved["signature"] != meta["signature"]:
        raise ModelError(
            f"{file}: was trained with other settings or features (signature"
            f" {saved['signature'][:12]}, now {meta['signature'][:12]}). A changed model cannot go"
            " on from it: put the settings back, or give the factory a new warehouse."
        )
    weights = {
        key.removeprefix("model."): value
        for key, value in tensors.items()
        if key.startswith("model.")
    }
    for path, table in _tables(model):
        rows_U = tensors[f"rows.{path}"]
        for part in ("weight", "squares"):
            key, whole = f"{path}.{part}", getattr(table, part)
            weights[key] = whole.index_copy(0, rows_U.to(whole.device), weights[key].to(whole))
    model.load_state_dict(weights)
    optimizers.restore(tensors)
    return dict(saved)


def day_seed(seed: int, day: dt.date, *more: int) -> int:
    """`seeded`, of a seed and a day."""
    return seeded(seed, day_number(day), *more)
