"""Train the tiny model's LoRAs: `python -m atlasvid_core.tiny.make_loras --out FOLDER`.

Clips of the procedural world go through the trainer that trains Wan2.1 (atlasvid_core.train), with
its presets `tiny_stage1` and `tiny_guide`: cache, then training, both resumable, seeds fixed. No
training clip is larger than 96 x 96 x 9; the guide's clips are crops of larger renders whose
whole the proxy shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from ..train import cache, loop
from ..train.config import Config, load
from ..train.text import text_encoder
from ..train.views import View
from .words import FILES
from .world import Scenes, Window, random_scenes, render

PRESETS = Path(__file__).parent.parent / "train" / "presets"
STAGES = ("stage1", "guide")
FIRST_SEED = 50_000  # of the scenes: none of the base's or of the tests'


@dataclass(frozen=True)
class WorldVideo:
    """One scene of the world as a video that can be read at any size; square pictures only."""

    number: int
    length: int

    @cached_property
    def scene(self) -> Scenes:
        return random_scenes(1, torch.Generator().manual_seed(FIRST_SEED + self.number))

    @property
    def caption(self) -> str:
        return self.scene.prompt(0)

    @property
    def name(self) -> str:
        return f"scene {self.number}"

    @property
    def mark(self) -> str:
        return f"{self.length} frames"

    def frames(self, view: View) -> Iterator[Tensor]:
        """-> [H, W, 3] in -1..1."""
        (side, wide), (top, left, box_h, box_w) = view.whole_px, view.box_px
        assert side == wide and box_h == box_w, "pictures of the world are square"
        place = (left / side, top / side, box_h / side, view.start, view.stride)
        window = Window(*(torch.tensor([float(x)]) for x in place))
        return iter(render(self.scene, window, view.frames, box_h, box_w)[0].permute(1, 2, 3, 0))


def videos_of(config: Config, count: int) -> list[WorldVideo]:
    """Videos as long as the config's largest r_t needs, so that those begin at frame 0."""
    frames = config.data.proxy_frames or config.data.frames
    return [WorldVideo(i, 1 + (frames - 1) * max(config.data.r_t)) for i in range(count)]


BASE = FILES / "diffusion_models" / "atlasvid_tiny.safetensors"
VAE = FILES / "vae" / "atlasvid_tiny_vae.safetensors"


def make(
    stage: str, out: Path, videos: int, changes: list[str], base: Path = BASE, vae: Path = VAE
) -> int:
    """Cache and train one stage under `out`, or go on with it. -> the trainer's exit status."""
    began, folder = time.monotonic(), out / stage
    places = {"out": folder, "data.cache": folder / "cache", "base.file": base, "base.vae": vae}
    here = [f"{key}={json.dumps(str(path))}" for key, path in places.items()]
    config = load(PRESETS / f"tiny_{stage}.toml", [*here, *changes])
    cpu = torch.device("cpu")
    encode = cache.vae_encoder(config, cpu), text_encoder(config.data, cpu)
    cache.build(config, videos_of(config, videos), *encode)
    print(f"{stage}: cache ready after {time.monotonic() - began:.0f} s", flush=True)
    status = loop.run(config)
    print(f"{stage}: {time.monotonic() - began:.0f} s in all", flush=True)
    return status


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to work in")
    parser.add_argument("--stage", choices=STAGES, action="append", help="by default both")
    parser.add_argument("--videos", type=int, default=2048)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    args = parser.parse_args(argv)
    for stage in args.stage or STAGES:
        status = make(stage, args.out, args.videos, args.changes)
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
