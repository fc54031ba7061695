"""The whole state of a run in one safetensors file: weights, optimiser, average, position.

Noise, noise levels, order of clips and dropped prompts are functions of the seed and the step, so
no state of a random generator needs keeping: the step is the position.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..halves import sweep
from ..tensor_file import save_whole
from .ema import Ema

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Position:
    """How far a run is: steps done, the best held-out loss and of which clips, steps left out."""

    step: int = 0
    best: float = float("inf")
    held_out: str = ""  # `Clips.held_out_identity`: losses of other clips say nothing of these
    bad: int = 0  # steps in a row without finite gradients
    skipped: int = 0  # of all such steps


def save_state(path: Path, optimiser: torch.optim.Optimizer, ema: Ema, position: Position) -> None:
    tensors: dict[str, Tensor] = {}
    for name, p in ema.weights.items():
        tensors[f"weight.{name}"] = p.detach()
        tensors[f"ema.{name}"] = ema.average[name]
        for moment, value in optimiser.state[p].items():
            tensors[f"{moment}.{name}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
    save_whole(tensors, path, {"position": json.dumps(asdict(position))})
    sweep(path.parent)


def load_state(path: Path, optimiser: torch.optim.Optimizer, ema: Ema) -> Position:
    """Raises ValueError when the file's weights are not those of this run."""
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        wanted = {f"weight.{name}" for name in ema.weights}
        if wanted != {name for name in names if name.startswith("weight.")}:
            raise ValueError(
                f"{path} is the state of another run: it trains other weights. Set `out` to "
                "another folder, or remove this one."
            )
        for name, p in ema.weights.items():
            saved = file.get_tensor(f"weight.{name}")
            if saved.shape != p.shape:
                raise ValueError(
                    f"{path} is the state of another run: {name} has {list(saved.shape)} values "
                    f"there, {list(p.shape)} here. Set `out` to another folder."
                )
            p.data.copy_(saved)
            ema.average[name].copy_(file.get_tensor(f"ema.{name}"))
            optimiser.state[p] = {
                moment: file.get_tensor(f"{moment}.{name}").to("cpu" if moment == "step" else p)
                for moment in MOMENTS
                if f"{moment}.{name}" in names
            }
        return Position(**json.loads(file.metadata()["position"]))
