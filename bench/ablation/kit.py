"""What every cell is made with: sizes, weights, and the scene of a number.

A cell's number is all that its scene, words and noise depend on, so all rows share them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from atlasvid_core import flow
from atlasvid_core.lora_metadata import LoraFacts, from_header
from atlasvid_core.plan import VideoPlan, make_plan
from atlasvid_core.rope import Axes, detail_axes
from atlasvid_core.tiny import world
from atlasvid_core.tiny.words import FILES, encode_prompt
from atlasvid_core.units import Grid
from atlasvid_core.wan.io import load_dit, load_vae
from atlasvid_core.wan.latents import from_model_space, to_model_space
from atlasvid_core.wan.lora import merge_lora

BASE = FILES / "diffusion_models" / "atlasvid_tiny.safetensors"
VAE = FILES / "vae" / "atlasvid_tiny_vae.safetensors"
LORAS = FILES / "loras"
FIRST_SEED = 900_000  # of the scenes and noises: none that anything was trained with
STAGE1_STEPS, STAGE1_CFG = 40, 1.5


@dataclass(frozen=True)
class Setting:
    """Sizes of the target and of its proxy, and how it is sampled; square pictures."""

    side_px: int = 384
    frames_px: int = 33
    proxy_px: int = 96
    r_t: int = 4
    cube_tok: Grid = Grid(1, 2, 2)
    steps: int = 12
    shift: float = 2.0

    @staticmethod
    def small() -> Setting:
        """As many cubes as tell the rows apart, in a second a row."""
        return Setting(side_px=64, frames_px=17, proxy_px=32, steps=2)

    @property
    def ratio(self) -> float:
        return self.side_px / self.proxy_px

    def plan(self, reach: str = "faces", alignment: str = "ratio") -> VideoPlan:
        return make_plan(
            width_px=self.side_px, height_px=self.side_px, frames_px=self.frames_px, r_t=self.r_t,
            proxy_height_px=self.proxy_px, cube_tok=self.cube_tok, reach=reach,
            alignment=alignment,
        )  # fmt: skip


class Kit:
    """The tiny model's weights, loaded when they are first needed; LoRAs are merged.

    `loras`: a folder of LoRA files; each says in its header which role it has. Cubes are those
    that the detail LoRA was trained with, where there is one and it says so.
    """

    def __init__(self, loras: Path, setting: Setting) -> None:
        found = [(facts_of(path), path) for path in sorted(loras.glob("*.safetensors"))]
        self.facts = {facts.role: facts for facts, _ in found if facts}
        self.files = {facts.role: path for facts, path in found if facts}
        detail = self.facts.get("detail")
        cube = Grid(*detail.cube) if detail and detail.cube else setting.cube_tok
        self.setting = replace(setting, cube_tok=cube)
        self.dit = cache(self._dit)
        self.identity = cache(self._identity)

    def _dit(self, *roles: str) -> nn.Module:
        model = load_dit(BASE)
        for role in roles:
            merge_lora(model, self.lora(role))
        return model

    def lora(self, role: str) -> Path:
        if role not in self.files:
            raise ValueError(
                f"there is no {role} LoRA among the files given ({', '.join(self.files) or 'none'}"
                "). Train the tiny model's, or name their folder with --loras."
            )
        return self.files[role]

    @cached_property
    def vae(self) -> nn.Module:
        return load_vae(VAE)

    def _identity(self, *roles: str) -> str:
        """A name for the world and the weights that these roles stand for."""
        files = [BASE, VAE, Path(world.__file__), *map(self.lora, roles)]
        parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def facts_of(path: Path) -> LoraFacts | None:
    """What a LoRA's header says of it; None for a file that says nothing."""
    with safe_open(path, "pt") as file:
        return from_header(file.metadata())


class Case:
    """The scene of a number, rendered and encoded when it is first asked for."""

    def __init__(self, number: int, kit: Kit) -> None:
        self.number, self.kit, self.setting = number, kit, kit.setting
        generator = torch.Generator().manual_seed(FIRST_SEED + number)
        self.scene = world.random_scenes(1, generator)
        self.proxy = cache(self._proxy)
        self.proxy_video = cache(self._proxy_video)

    @property
    def prompt(self) -> str:
        return self.scene.prompt(0)

    def text(self, view: str) -> Tensor:
        return encode_prompt(self.prompt, view)

    def noise(self, lat: Grid, draw: int = 0) -> Tensor:
        seed = FIRST_SEED + self.number + 1_000_000 * draw
        return torch.randn(1, 16, *lat, generator=torch.Generator().manual_seed(seed))

    @cached_property
    def truth(self) -> Tensor:
        """-> video [1, 3, T, H, W] in -1..1 of the target's size."""
        side = self.setting.side_px
        return world.render(self.scene, world.whole_picture(1), self.setting.frames_px, side, side)

    def _proxy(self, source: str) -> Tensor:
        """-> latent [1, 16, t, h, w] in model space."""
        plan, side = self.setting.plan(), self.setting.proxy_px
        if source == "stage1":
            return self._stage1(plan)
        assert source == "truth", source
        window = world.whole_picture(1, float(self.setting.r_t))
        video = world.render(self.scene, window, plan.proxy_frames_px, side, side)
        return to_model_space(self.kit.vae.encode(video))

    def _stage1(self, plan: VideoPlan) -> Tensor:
        model, text = self.kit.dit("stage1"), self.text("full")
        axes = detail_axes(plan.proxy_tok)
        axes = Axes(axes.t * plan.r_t, axes.h, axes.w)
        both_texts = torch.cat([text, torch.zeros_like(text)])

        def velocity(x: Tensor, sigma: float) -> Tensor:
            timestep = torch.full((2,), sigma * flow.TIMESTEPS)
            seen = model(torch.cat([x, x]), timestep, both_texts, axes=axes)
            return flow.guided(*seen.chunk(2), STAGE1_CFG)

        noise = self.noise(plan.proxy_lat, draw=1)
        return flow.euler(velocity, noise, flow.sigmas(STAGE1_STEPS, self.setting.shift))

    def _proxy_video(self, source: str) -> Tensor:
        """-> video [1, 3, t, h, w]: what the proxy's latent shows."""
        return self.kit.vae.decode(from_model_space(self.proxy(source))).clamp(-1, 1)
