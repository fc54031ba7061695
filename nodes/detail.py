"""What LocalityPreservingPatch hangs on a MODEL: the detail branch of one plan, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..atlasvid_core.guide import Guide
from ..atlasvid_core.joint import detail_forward
from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.units import Grid
from . import refuse

NODE = "LocalityPreservingPatch"
SLABS = 3  # of cubes, that are live at a time: the one in work and its neighbours


@dataclass(frozen=True, eq=False)
class Detail:
    """Local, guided attention for `plan`; `cast` and `on_layer` are the host's."""

    plan: VideoPlan
    guide: Guide | None
    backend: str
    cast: Callable[[Tensor, Tensor], Tensor]
    on_layer: Callable[..., None]

    def forward(
        self, network: nn.Module, x: Tensor, timestep: Tensor, context: Tensor,
        clip_fea: Tensor | None = None, time_dim_concat: Tensor | None = None,
        transformer_options: Mapping[str, Any] | None = None, **others: Any,
    ) -> Tensor:  # fmt: skip
        """In place of the network's own forward: x [B, C, t, h, w] -> velocity [B, 16, t, h, w]."""
        refuse.check_transformer_options(transformer_options or {}, NODE)
        refuse.check_forward_inputs({"time_dim_concat": time_dim_concat, **others}, NODE)
        refuse.check_target(Grid(*x.shape[2:]), self.plan, "The latent to denoise")
        return detail_forward(
            network, x, timestep, context, clip_fea,
            cube_tok=self.plan.cube_tok, reach=self.plan.reach, guide=self.guide,
            backend=self.backend, cast=self.cast, progress=self.on_layer,
        )  # fmt: skip

    def check_sampling(self, noise_shape, conds, model_options) -> None:
        """At the start of sampling, before anything is loaded."""
        refuse.check_options(model_options, NODE)
        refuse.check_conditions(conds, NODE)
        lat = refuse.check_shape(noise_shape, "The latent to denoise")
        refuse.check_target(lat, self.plan, "The latent to denoise")

    def live_shape(self, noise_shape) -> list[int]:
        """The latent whose full-size activations are as large as ours: three slabs of cubes.

        The host reserves memory for this shape; for the whole video it would evict everything.
        """
        b, c, t, h, w = noise_shape
        return [b, c, min(t, SLABS * self.plan.cube_tok.t), h, w]
