"""The whole state of a run in one safetensors file: weights, optimiser, average, position.

Noise, noise levels, order of clips and dropped prompts are functions of the seed and the step, so
no state of a random generator needs keeping: the step is the position.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..halves import sweep
from ..tensor_file import save_whole
from .config import Config
from .ema import Ema

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Position:
    """How far a run is: steps done, the best held-out loss and of which clips, steps left out."""

    step: int = 0
    best: float = float("inf")
    held_out: str = ""  # `Clips.held_out_identities`: losses of other clips say nothing of these
    bad: int = 0  # steps in a row without finite gradients
    skipped: int = 0  # of all such steps


def settings_of(config: Config) -> dict[str, Any]:
    """What makes the weights what they are, and no tensor's shape tells of; of the base its file's
    name and size, so that it may be moved."""
    base = Path(config.base.file)
    told = {"stage": config.stage, "base.file": base.name, "train.shift": config.train.shift}
    told["size of base.file"] = f"{base.stat().st_size} bytes"
    if config.stage != "refine":
        told["train.alpha"] = config.train.alpha
    if config.stage != "stage1":
        for name in ("cube", "reach", "alignment"):
            told[f"attention.{name}"] = getattr(config.attention, name)
    return json.loads(json.dumps(told))  # as it is read back


def check_settings(path: Path, config: Config) -> str:
    """ValueError where the state is of other settings; -> what to say where it keeps none."""
    with safe_open(path, "pt") as file:
        kept = file.metadata().get("settings")
    if kept is None:
        return (
            f"{path} is of an earlier version and keeps no settings: whether base.file, "
            "train.alpha, train.shift and [attention] are as they were is not checked"
        )
    before, now = json.loads(kept), settings_of(config)
    for name in now:
        if name in before and before[name] != now[name]:
            raise ValueError(
                f"{path} is the state of a run whose {name} was {before[name]!r}, here it is "
                f"{now[name]!r}. Set it back to go on, or set `out` to another folder."
            )
    return ""


def check_shared(path: Path, accelerator: Any) -> None:
    """ValueError on every process where they would go on from different steps."""
    if accelerator.num_processes == 1:
        return
    step = torch.tensor([position_in(path).step], device=accelerator.device)
    steps = sorted(set(accelerator.gather(step).tolist()))
    if len(steps) > 1:
        raise ValueError(
            f"{path} is at step {', '.join(map(str, steps))}, depending on the process that reads "
            "it (0: it finds none). Set `out` to a folder on a disk that all hosts share."
        )


def save_state(
    path: Path, optimiser: torch.optim.Optimizer, ema: Ema, position: Position, config: Config
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, p in ema.weights.items():
        tensors[f"weight.{name}"] = p.detach()
        tensors[f"ema.{name}"] = ema.average[name]
        for moment, value in optimiser.state[p].items():
            tensors[f"{moment}.{name}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.cpu().contiguous() for name, t in tensors.items()}
    told = {"position": asdict(position), "settings": settings_of(config)}
    save_whole(tensors, path, {name: json.dumps(value) for name, value in told.items()})
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
    return position_in(path)


def position_in(path: Path) -> Position:
    """How far the run of this state is; where there is none, at its beginning."""
    if not path.exists():
        return Position()
    with safe_open(path, "pt") as file:
        return Position(**json.loads(file.metadata()["position"]))
