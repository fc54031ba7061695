"""Trained weights -> files that ComfyUI's stock LoRA loader takes, with what they were trained for.

Names: `diffusion_model.blocks.0.self_attn.q.lora_A.weight`, `.lora_B.weight`, `.alpha`; the refined
FFN as `.diff` and `.diff_b`, the difference to the base.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ..lora_metadata import LoraFacts, to_header
from ..tensor_file import save_whole
from ..units import VAE_STRIDE, Grid, tok_from_lat
from .adapters import PREFIX, lora_weights, unwrapped
from .cache import Clip
from .config import Config
from .student import Student


def lora_facts(config: Config, clips: Iterable[Clip], role: str, steps: int) -> LoraFacts:
    """What was seen in training: ranges over the clips themselves, not what the config allows."""
    clips = list(clips)
    stage1 = role == "stage1"
    seen = [(clip, lat) for clip in clips for lat in ((clip.lat,) if stage1 else clip.proxies_lat)]
    ratios = [
        getattr(clip.whole_tok, axis) / getattr(tok_from_lat(lat), axis)
        for clip, lat in seen
        for axis in ("h", "w")
    ]
    attention = config.attention
    cube = attention.cube_tok
    return LoraFacts(
        stage=config.stage,
        role=role,
        base=config.base.name,
        r_t=_range(float(clip.r_t) for clip in clips),
        proxy_height_px=_range(VAE_STRIDE.h * lat.h for _, lat in seen),
        proxy_width_px=_range(VAE_STRIDE.w * lat.w for _, lat in seen),
        proxy_frames=_range(_frames(lat) for _, lat in seen),
        cube=None if stage1 else (cube.t, cube.h, cube.w),
        reach=None if stage1 else attention.reach,
        alignment=None if stage1 else attention.alignment,
        ratio=None if stage1 else _range(ratios),
        steps=steps,
    )


def _frames(lat: Grid) -> int:
    return 1 + VAE_STRIDE.t * (lat.t - 1)


def _range(values: Iterable) -> tuple:
    values = sorted(values)
    return values[0], values[-1]


def lora_tensors(student: Student, role: str) -> dict[str, Tensor]:
    """A LoRA as the student wears it now, in bfloat16."""
    out = {}
    for name, p in lora_weights(student.base, role).items():
        out[PREFIX + name] = p.detach().to("cpu", torch.bfloat16).contiguous()
        module = name.partition(".lora_")[0]
        out[f"{PREFIX}{module}.alpha"] = torch.tensor(float(student.config.train.alpha))
    return out


def ffn_diff(student: Student) -> dict[str, Tensor]:
    """The refined FFN less the base's."""
    assert student.detail_ffn is not None
    out = {}
    for number, (block, tuned) in enumerate(
        zip(student.base.blocks, student.detail_ffn, strict=True)
    ):
        for i in (0, 2):
            plain = unwrapped(block.ffn[i])
            for name, end in (("weight", "diff"), ("bias", "diff_b")):
                diff = getattr(tuned[i], name).float() - getattr(plain, name).float()
                key = f"{PREFIX}blocks.{number}.ffn.{i}.{end}"
                out[key] = diff.detach().to("cpu", torch.bfloat16).contiguous()
    return out


def export(student: Student, clips: list[Clip], folder: Path, steps: int) -> list[Path]:
    """Write what the student wears: `stage1`, `proxy` and `detail`, or `ffn` .safetensors."""
    config = student.config
    if config.stage == "refine":
        files = {"ffn": ("detail", ffn_diff(student))}
    else:
        files = {role: (role, lora_tensors(student, role)) for role in student.roles}
    paths = []
    for name, (role, tensors) in files.items():
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole(tensors, path, to_header(lora_facts(config, clips, role, steps)))
        paths.append(path)
    return paths
