"""What LocalityPreservingPatch hangs on a MODEL: the detail branch of one plan, as a value."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..atlasvid_core.attention.layout import CubeLayout
from ..atlasvid_core.budget import Activations, ChunkPlan, peak_bytes, resolve, smaller
from ..atlasvid_core.joint import detail_forward
from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.units import Grid, tok_from_lat
from . import refuse
from .kept_guide import KeptGuide
from .ladder import spent
from .refuse_patches import check_object_patches, check_swapped
from .resident import resident

NODE = "LocalityPreservingPatch"
KEY = "atlasvid"  # of what the patch hangs on a MODEL
ON_PART = "atlasvid_on_part"  # in transformer_options: who is told of each part, if not on_part
REMEDY = (
    "Take a smaller target or shorter cubes in VideoPlan, offload more of the weights (--lowvram), "
    "or close what else uses the device."
)
CHUNKS, GUIDE_TOK = "chunk_plan", "guide_chunk_tok"  # in the notes of a kept step
GIB = 2**30


@dataclass(frozen=True, eq=False)
class Detail:
    """Local, guided attention for `plan`; `cast` and `on_part(done, total)` are the host's."""

    plan: VideoPlan
    guide: KeptGuide | None
    backend: str
    cast: Callable[[Tensor, Tensor], Tensor]
    on_part: Callable[..., None]
    chunks: ChunkPlan
    sizes: Activations
    pin: bool = True  # a hidden state in host memory
    rungs: list[ChunkPlan] = field(default_factory=list)  # tried so far, the last one in use

    def __post_init__(self) -> None:
        self.rungs.append(self.chunks)

    @property
    def need_bytes(self) -> int:
        """Device memory above the weights."""
        return peak_bytes(self.chunks, _layout(self.plan), self.sizes)

    def summary(self) -> str:
        return f"{self.chunks}: {self.need_bytes / GIB:.2f} GB above the weights"

    def forward(
        self, network: nn.Module, x: Tensor, timestep: Tensor, context: Tensor,
        clip_fea: Tensor | None = None, time_dim_concat: Tensor | None = None,
        transformer_options: Mapping[str, Any] | None = None, **others: Any,
    ) -> Tensor:  # fmt: skip
        """In place of the network's own forward: x [B, C, t, h, w] -> velocity [B, 16, t, h, w]."""
        options = transformer_options or {}
        check_swapped(network, NODE)
        refuse.check_transformer_options(options, NODE)
        refuse.check_forward_inputs({"time_dim_concat": time_dim_concat, **others}, NODE)
        refuse.check_target(Grid(*x.shape[2:]), self.plan, "The latent to denoise")
        guide = None if self.guide is None else self.guide.get()
        given = x, timestep, context, clip_fea
        forward = partial(
            detail_forward, network, cube_tok=self.plan.cube_tok, reach=self.plan.reach,
            guide=guide, backend=self.backend, cast=self.cast, resident=resident, pin=self.pin,
            progress=options.get(ON_PART, self.on_part),
        )  # fmt: skip
        # Memory is planned for one. Whether the host gives two at once (cfg) hangs on what memory
        # is free, and together they round otherwise: one by one a job's bytes are the same.
        one_by_one = [
            self._in_memory(partial(forward, *(None if v is None else v[n : n + 1] for v in given)))
            for n in range(len(x))
        ]
        return one_by_one[0] if len(x) == 1 else torch.cat(one_by_one)

    def _in_memory(self, forward: Callable[..., Tensor]) -> Tensor:
        """`forward` in the pieces that memory allows."""
        while True:
            try:
                return forward(chunks=self.rungs[-1])
            except torch.OutOfMemoryError as error:
                self._step_down(error)

    def _step_down(self, error: torch.OutOfMemoryError) -> None:
        """Out of memory: a smaller chunk plan for the rest of the job, or the end of it."""
        less = smaller(self.rungs[-1])
        if less is None:
            raise spent(NODE, map(str, self.rungs), REMEDY) from error
        logging.warning("AtlasVid: out of memory with %s; going on with %s", self.rungs[-1], less)
        self.rungs.append(less)

    def check_sampling(self, noise_shape, conds, model_options, object_patches) -> None:
        """At the start of sampling, before anything is loaded."""
        refuse.check_options(model_options, NODE)
        check_object_patches(object_patches, NODE)
        refuse.check_conditions(conds, NODE)
        lat = refuse.check_shape(noise_shape, "The latent to denoise")
        refuse.check_target(lat, self.plan, "The latent to denoise")

    def identity(self) -> list:
        """All that makes one detail branch give another result than another one."""
        guide = None if self.guide is None else self.guide.identity
        return [self.plan, self.backend, self.chunks, guide]

    def notes(self) -> dict[str, str]:
        """What a finished step was made with that `identity` does not say."""
        notes = {CHUNKS: json.dumps(asdict(self.rungs[-1]))}
        if self.guide is not None:
            notes[GUIDE_TOK] = str(self.guide.chunk_tok)
        return notes

    def take_up(self, notes: Mapping[str, str]) -> None:
        """The next job goes on after a step kept with these notes: cut as that one was, so that
        its bytes are those of a job that was never interrupted."""
        if CHUNKS in notes:
            self.rungs[:] = [ChunkPlan(**json.loads(notes[CHUNKS]))]
            if self.rungs != [self.chunks]:
                logging.info("AtlasVid: memory ran out before; going on with %s", self.rungs[0])
        if GUIDE_TOK in notes and self.guide is not None:
            self.guide.cut_as(int(notes[GUIDE_TOK]))

    def begin(self) -> None:
        """Before the model is loaded for sampling: the guide needs its own branch loaded."""
        if self.guide is not None:
            self.guide.get()

    def end(self) -> None:
        """After sampling, however it ended: the guide's gigabytes are not for the next job, nor is
        what memory this one came down to."""
        self.rungs[:] = [self.chunks]
        if self.guide is not None:
            self.guide.release()

    def live_shape(self, noise_shape, bytes_of: Callable[[list[int]], float]) -> list[int]:
        """A latent as wide and high for which the host reserves what the detail branch needs.

        `bytes_of(shape)` is the host's estimate of a full forward, linear in frames; for the whole
        video it would evict everything.
        """
        b, c, _, h, w = noise_shape
        return [b, c, max(1, math.ceil(self.need_bytes / bytes_of([1, c, 1, h, w]))), h, w]


def cut_for(
    plan: VideoPlan, guide: KeptGuide | None, facts: refuse.ModelFacts, budget_bytes: int
) -> tuple[ChunkPlan, Activations]:
    """The chunk plan of a job within a budget, and the sizes that it was made for."""
    proxies = 0 if guide is None else guide.proxy_tok.count
    sizes = Activations(facts.width, facts.ffn_width, proxies, element_bytes=facts.element_bytes)
    return resolve(_layout(plan), sizes, budget_bytes), sizes


def _layout(plan: VideoPlan) -> CubeLayout:
    return CubeLayout(tok_from_lat(plan.target_lat), plan.cube_tok)
