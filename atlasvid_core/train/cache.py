"""Videos -> shards of latents, proxy latents and text embeddings, as safetensors files.

Shard s holds the clips from s * shard on, whatever the number of processes: process r of n makes
the shards r, r + n, ... that are not there yet, so a run that was stopped goes on, with more or
fewer processes. A shard's header lists its clips (`Clip`); captions lie in files of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..units import Grid
from .config import Config, DataConfig
from .sources import Source, find_videos
from .text import Encode, text_encoder
from .views import Cut, View, cut

EncodeVideo = Callable[[Tensor], Tensor]  # [B, 3, T, H, W] in -1..1 -> model space [B, 16, ...]


@dataclass(frozen=True)
class Clip:
    """What the header of a shard says of a clip; tensors are `<number>.clip`, `<number>.proxy0`."""

    number: int
    video: int
    caption: str
    r_t: int
    lat: Grid
    proxies_lat: tuple[Grid, ...]
    whole_tok: Grid
    offset_tok: Grid

    @staticmethod
    def of(row: dict) -> Clip:
        grids = {name: Grid(*row[name]) for name in ("lat", "whole_tok", "offset_tok")}
        return Clip(**{**row, **grids, "proxies_lat": tuple(Grid(*g) for g in row["proxies_lat"])})

    @property
    def bucket(self) -> tuple:
        """Clips of one bucket can share a batch: all that is geometry is the same."""
        return (self.lat, self.proxies_lat, self.whole_tok, self.offset_tok, self.r_t)


def fingerprint(config: Config) -> str:
    """What the cache's contents depend on; of the VAE its file's name and size."""
    told = dataclasses.asdict(config.data) | {"stage": config.stage, "seed": config.seed}
    vae = Path(config.base.vae)
    told |= {"vae": vae.name, "vae_bytes": vae.stat().st_size if vae.is_file() else 0}
    told |= {"cache": "", "held_out": 0, "text_tokens": 0}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def cut_of(config: Config, number: int, length: int) -> Cut | None:
    """The cut of clip `number` of the cache; the same in every process and run."""
    data = config.data
    geometry = random.Random(f"{config.seed} geometry {number // data.group}")
    place = random.Random(f"{config.seed} place {number}")
    return cut(config.stage, data, length, geometry, place)


def say_now(text: str) -> None:
    print(text, flush=True)


def build(
    config: Config,
    sources: Sequence[Source],
    encode_video: EncodeVideo,
    encode_text: Encode,
    rank: int = 0,
    processes: int = 1,
    say: Callable[[str], None] = say_now,
) -> int:
    """Make this process's missing shards; returns how many clips were too short to cut.

    Raises ValueError where the folder holds a cache of other settings.
    """
    folder, data = Path(config.data.cache), config.data
    _claim(folder, fingerprint(config))
    total = len(sources) * data.passes
    shards = range(rank, -(-total // data.shard), processes)
    began, too_short, made = time.monotonic(), 0, 0
    for done, shard in enumerate(shards):
        path = folder / f"shard-{shard:06d}.safetensors"
        if path.exists():
            continue
        wanted, clips = [], []
        for number in range(shard * data.shard, min(total, (shard + 1) * data.shard)):
            source = sources[number % len(sources)]
            chosen = cut_of(config, number, source.length)
            if chosen is None:
                too_short += 1
                continue
            clips.append(_clip(number, number % len(sources), source.caption + data.suffix, chosen))
            views = {"clip": chosen.clip} | {f"proxy{i}": v for i, v in enumerate(chosen.proxies)}
            wanted += [(f"{number}.{name}", source, view) for name, view in views.items()]
        for caption in {clip.caption for clip in clips} | {""}:
            _keep_text(folder, caption, encode_text, data)
        rows = json.dumps([dataclasses.asdict(clip) for clip in clips])
        tensors = _encoded(wanted, encode_video, data.group)
        _write(tensors or {"empty": torch.zeros(1)}, path, {"clips": rows})
        made += 1
        left = (time.monotonic() - began) / made * (len(shards) - done - 1)
        say(f"cache: shard {done + 1} of {len(shards)}, {left / 60:.1f} min left")
    return too_short


def _clip(number: int, video: int, caption: str, chosen: Cut) -> Clip:
    proxies = tuple(view.lat for view in chosen.proxies)
    return Clip(
        number, video, caption, chosen.r_t, chosen.clip.lat, proxies, chosen.whole_tok,
        chosen.offset_tok,
    )  # fmt: skip


def _encoded(
    wanted: list[tuple[str, Source, View]], encode: EncodeVideo, size: int
) -> dict[str, Tensor]:
    """Latents in float16 by name; views of one shape go through the VAE `size` at a time."""
    by_shape = defaultdict(list)
    for name, source, view in wanted:
        by_shape[view.lat].append((name, source, view))
    tensors = {}
    for alike in by_shape.values():
        for at in range(0, len(alike), size):
            some = alike[at : at + size]
            latents = encode(torch.stack([source.read(view) for _, source, view in some]))
            for (name, _, _), latent in zip(some, latents, strict=True):
                tensors[name] = latent.half().clone()
    return tensors


def text_file(folder: Path, caption: str) -> Path:
    return folder / "text" / f"{hashlib.sha256(caption.encode()).hexdigest()[:24]}.safetensors"


def _keep_text(folder: Path, caption: str, encode: Encode, data: DataConfig) -> None:
    path = text_file(folder, caption)
    if path.exists():
        return
    text = encode(caption)
    if len(text) > data.text_tokens:
        raise ValueError(
            f"The caption {caption[:60]!r} has {len(text)} tokens, data.text_tokens allows "
            f"{data.text_tokens}. Shorten it or raise the setting."
        )
    _write({"text": text.to(torch.bfloat16).contiguous()}, path, {"caption": caption})


def _write(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Beside, then renamed; the name of the process keeps two that write the same file apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file(tensors, part, header)
    part.replace(path)


def _claim(folder: Path, mark: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cache.json"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"fingerprint": mark}))
        part.replace(path)
    if json.loads(path.read_text())["fingerprint"] != mark:
        raise ValueError(
            f"{folder} holds a cache made with other settings (data, base.vae, stage or seed). "
            "Set data.cache to another folder, or remove this one."
        )


def vae_encoder(config: Config, device: torch.device) -> EncodeVideo:
    """A clip alone streams through the VAE, four frames at a time; several go through together."""
    from ..encode import encode_frames
    from ..wan.io import load_vae
    from ..wan.latents import to_model_space

    dtype = torch.float32 if device.type == "cpu" else getattr(torch, config.base.dtype)
    vae = load_vae(config.base.vae, dtype).to(device)

    @torch.no_grad()
    def encode(video: Tensor) -> Tensor:
        if len(video) == 1:
            frames = (frame.to(device, dtype) for frame in video[0].permute(1, 2, 3, 0))
            raw = encode_frames(vae, frames)
        else:
            raw = vae.encode(video.to(device, dtype))
        return to_model_space(raw.float()).cpu()

    return encode


def run(config: Config) -> int:
    """The `cache` command: over processes as RANK and WORLD_SIZE say."""
    if not config.base.vae:
        raise ValueError("setting base.vae is missing: the file of the Wan2.1 VAE.")
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    on_gpu = torch.cuda.is_available() and not config.train.cpu
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    sources = find_videos(config.data.videos, config.data.fps)
    short = build(
        config, sources, vae_encoder(config, device), text_encoder(config.data, device), rank,
        processes,
    )  # fmt: skip
    if short:
        print(f"cache: {short} clips left out, their videos are too short", flush=True)
    return 0
