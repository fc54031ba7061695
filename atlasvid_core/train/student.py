"""The networks under training: a batch in, the flow loss of each clip out.

Source: paper sections 3.2 and 3.3, appendix B.1. Shapes: B clips.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .. import flow
from ..guide import Guide, make_guide
from ..joint import detail_forward
from ..rope import Axes, detail_axes, rotations
from ..units import Grid, tok_from_lat
from ..wan.dit import WanDiT
from ..wan.io import load_dit
from .adapters import Switch, check_lora, inject, load_lora, modules_of
from .clips import Batch
from .config import Config
from .views import seen_axes


class Student(nn.Module):
    """A frozen base with what is trained on it; subclasses say how a velocity comes about."""

    roles: tuple[str, ...] = ()

    def __init__(self, base: WanDiT, config: Config) -> None:
        super().__init__()
        self.config, self.base = config, base
        self.detail_ffn: nn.ModuleList | None = None
        torch.manual_seed(config.seed)
        self.adapt()
        self.switch = Switch(base, self.detail_ffn)

    def adapt(self) -> None:
        train, layers = self.config.train, len(self.base.blocks)
        for role in self.roles:
            inject(self.base, role, modules_of(role, layers), train.rank, train.alpha)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, batch: Batch) -> Tensor:
        """-> flow loss [B]: mean square error of the velocity. The batch is in float32.

        Only what the network reads is rounded to its dtype: noise levels in bfloat16 go in steps of
        1/256 near 1, where the timestep's do not.
        """
        noisy = flow.noised(batch.x0, batch.noise, batch.sigma_B)
        dtype = getattr(torch, self.config.base.dtype)
        read = batch.to(noisy.device, dtype)
        error = self.velocity(read, noisy.to(dtype), batch.sigma_B).float()
        error = error - flow.velocity_target(batch.x0, batch.noise)
        return error.square().mean(dim=(1, 2, 3, 4))

    def velocity(self, batch: Batch, noisy: Tensor, sigma_B: Tensor) -> Tensor:
        raise NotImplementedError

    def run_layer(self, role: str) -> Callable[[int, Callable[[Any], Any], Any], Any]:
        """A layer with its adapter; its activations are recomputed in the backward pass."""

        def run(number: int, work: Callable[[Any], Any], x: Any) -> Any:
            def inside(x):
                with self.switch.on(number, role):
                    return work(x)

            if self.config.train.checkpointing and torch.is_grad_enabled():
                return checkpoint(inside, x, use_reentrant=False, preserve_rng_state=False)
            return inside(x)

        return run


class Stage1(Student):
    """The base with stretched temporal coordinates: videos of few frames and a long time."""

    roles = ("stage1",)

    def velocity(self, batch: Batch, noisy: Tensor, sigma_B: Tensor) -> Tensor:
        axes = detail_axes(tok_from_lat(batch.clip.lat))
        rotation = rotations(Axes(axes.t * batch.clip.r_t, axes.h, axes.w)).to(noisy.device)
        run, numbers = self.run_layer("stage1"), iter(range(len(self.base.blocks)))

        def run_block(block: nn.Module, x: Tensor, *rest: Any) -> Tensor:
            return run(next(numbers), lambda x: block(x, *rest), x)

        return self.base.tokens_forward(
            noisy, axes.grid, sigma_B * flow.TIMESTEPS, batch.text, None, rotation, run_block
        )


class Joint(Student):
    """Stage 2: detail tokens, local attention, and the guide of a clean proxy."""

    roles = ("proxy", "detail")

    def velocity(self, batch: Batch, noisy: Tensor, sigma_B: Tensor) -> Tensor:
        return self.detail(batch, noisy, sigma_B, self.guide(batch))

    def guide(self, batch: Batch) -> Guide:
        assert batch.proxy is not None
        clip, attention = batch.clip, self.config.attention
        axes = seen_axes(
            tok_from_lat(Grid(*batch.proxy.shape[2:])), clip.whole_tok, clip.offset_tok,
            attention.alignment, clip.r_t,
        )  # fmt: skip
        return make_guide(
            self.base, batch.proxy, axes, tok_from_lat(clip.lat), keep=lambda part: part,
            run_layer=self.run_layer("proxy"),
        )  # fmt: skip

    def detail(self, batch: Batch, noisy: Tensor, sigma_B: Tensor, guide: Guide | None) -> Tensor:
        attention = self.config.attention
        return detail_forward(
            self.base, noisy, sigma_B * flow.TIMESTEPS, batch.text,
            cube_tok=attention.cube_tok, reach=attention.reach, backend=attention.backend,
            guide=guide, run_layer=self.run_layer("detail"),
        )  # fmt: skip


class Refine(Joint):
    """Stage 2 with both LoRAs frozen and the detail branch's FFN trained, all of its weights."""

    def adapt(self) -> None:
        self.detail_ffn = nn.ModuleList(
            copy.deepcopy(block.ffn).float().requires_grad_(True) for block in self.base.blocks
        )
        load_lora(self.base, "proxy", self.config.base.proxy_lora)
        load_lora(self.base, "detail", self.config.base.detail_lora)

    @torch.no_grad()
    def guide(self, batch: Batch) -> Guide:
        return super().guide(batch)


STUDENTS: dict[str, type[Student]] = {"stage1": Stage1, "guide": Joint, "refine": Refine}


def make_student(config: Config, device: torch.device) -> Student:
    """The base from its file with fresh adapters, on the device. ValueError for an i2v base,
    and for LoRAs that `refine` can't use."""
    if config.stage == "refine":
        check_lora(config.base.proxy_lora, "proxy", config.attention)
        check_lora(config.base.detail_lora, "detail", config.attention)
    base = load_dit(config.base.file, getattr(torch, config.base.dtype), device)
    if base.config.in_channels != base.config.out_channels:
        raise ValueError(
            f"{config.base.file} is an image-to-video model ({base.config.in_channels} channels "
            "in); the trainer takes text-to-video models. Its LoRAs fit both where sizes agree."
        )
    return STUDENTS[config.stage](base, config).to(device)
