"""Videos -> shards of latents, proxy latents and text embeddings, as safetensors files.

What shard s holds is the same for any number of processes (`listing`): process r of n makes the
shards r, r + n, ... that are not there yet, so a run that was stopped goes on, with more or fewer
processes. A shard's header lists its clips (`Clip`); captions lie in files of their own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..halves import sweep
from ..tensor_file import save_whole
from ..units import Grid
from . import listing
from .config import Config, DataConfig
from .listing import Listing, Made, fingerprint, marks_of
from .sources import Source, find_videos, stacked
from .text import Encode, text_encoder
from .views import Cut, View, cut

# B videos of one size as frames [H, W, 3], bytes or floats in -1..1 -> model space [B, 16, ...]
EncodeVideo = Callable[[list[Iterator[Tensor]]], Tensor]


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

    Raises ValueError where the folder holds a cache of other settings, or of videos that are gone
    or were changed.
    """
    folder, data = Path(config.data.cache), config.data
    claimed = _claim(config, folder, sources, say)
    if claimed is None:
        return 0
    made_of, source_of = claimed
    for place in (folder, folder / "text"):
        sweep(place)
    rows, video_of = made_of.rows or (), made_of.videos()
    planned = made_of.shards(data.passes, data.shard)
    shards = range(rank, len(planned), processes)
    began, too_short, made = time.monotonic(), 0, 0
    for done, shard in enumerate(shards):
        path = shard_file(folder, shard)
        if path.exists():
            continue
        wanted, clips = [], []
        for number, row in planned[shard]:
            if row not in source_of:
                continue
            source, chosen = source_of[row], cut_of(config, number, rows[row].length)
            if chosen is None:
                too_short += 1
                continue
            clips.append(_clip(number, video_of[row], source.caption + data.suffix, chosen))
            views = {"clip": chosen.clip} | {f"proxy{i}": v for i, v in enumerate(chosen.proxies)}
            wanted += [(f"{number}.{name}", source, view) for name, view in views.items()]
        for caption in {clip.caption for clip in clips} | {""}:
            _keep_text(folder, caption, encode_text, data)
        header = json.dumps([dataclasses.asdict(clip) for clip in clips])
        tensors = _encoded(wanted, encode_video, data.group)
        _write(tensors or {"empty": torch.zeros(1)}, path, {"clips": header})
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
            latents = encode([source.frames(view) for _, source, view in some])
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
    path.parent.mkdir(parents=True, exist_ok=True)
    save_whole(tensors, path, header)


def shard_file(folder: Path, shard: int) -> Path:
    return folder / f"shard-{shard:06d}.safetensors"


def clips_in(shard: Path) -> list[Clip]:
    with safe_open(shard, "pt") as file:
        return [Clip.of(row) for row in json.loads(file.metadata()["clips"])]


def _claim(
    config: Config, folder: Path, sources: Sequence[Source], say: Callable[[str], None]
) -> tuple[Listing, dict[int, Source]] | None:
    """What the folder is to hold from now on, and by row its video; None: nothing is left to do."""
    folder.mkdir(parents=True, exist_ok=True)
    mark, before = fingerprint(config), listing.read(folder)
    shards = sorted(folder.glob("shard-*.safetensors"))
    if before is None and shards:
        raise ValueError(
            f"{folder} holds shards, but no cache.json that says of what. Restore that file, or "
            "set data.cache to another folder."
        )
    before = before or Listing(mark, (), ())
    if before.fingerprint not in marks_of(config):
        raise ValueError(
            f"{folder} holds a cache made with other settings (data, base.vae, stage or seed). "
            "Set data.cache to another folder, or remove this one."
        )
    if before.rows is None:
        _check_unlisted(config, folder, shards, sources)
        return None
    planned = before.shards(config.data.passes, config.data.shard)
    row_of = dict(sum(planned, []))

    def made() -> Made:
        cached = {row_of[clip.number] for path in shards for clip in clips_in(path)}
        missing = [at for at in range(len(planned)) if shard_file(folder, at) not in shards]
        return Made(cached, {row for at in missing for _, row in planned[at]})

    now, source_of, left_out = listing.grown(before, sources, made, folder)
    now = dataclasses.replace(now, fingerprint=mark)
    if now != before:
        listing.write(folder, now)
    for words in left_out:
        say(f"cache: {words}")
    return now, source_of


def _check_unlisted(
    config: Config, folder: Path, shards: list[Path], sources: Sequence[Source]
) -> None:
    """ValueError where a cache without a list lacks clips of these videos, or holds others."""
    data, there = config.data, {clip.number: clip for path in shards for clip in clips_in(path)}

    def same(number: int) -> bool:
        clip, source = there.get(number), sources[number % len(sources)]
        if clip is None:
            return cut_of(config, number, source.length) is None
        told = (number % len(sources), source.caption + data.suffix)
        return (clip.video, clip.caption) == told

    total = len(sources) * data.passes
    enough = len(shards) == -(-total // data.shard) and max(there, default=0) < total
    if not enough or not all(same(number) for number in range(total)):
        raise ValueError(
            f"{folder} holds a cache of an earlier version, which kept no list of its videos, and "
            "not just the clips of those in data.videos now. It can be trained on as it is, but "
            "not gone on with: set data.cache to another folder to cache these videos."
        )


def vae_encoder(config: Config, device: torch.device) -> EncodeVideo:
    """A clip alone streams through the VAE, four frames at a time; several go through together,
    and lie in memory whole."""
    from ..encode import encode_frames
    from ..wan.io import load_vae
    from ..wan.latents import to_model_space

    dtype = torch.float32 if device.type == "cpu" else getattr(torch, config.base.dtype)
    vae, like = load_vae(config.base.vae, dtype).to(device), torch.empty((), dtype=dtype).to(device)

    @torch.no_grad()
    def encode(videos: list[Iterator[Tensor]]) -> Tensor:
        if len(videos) == 1:
            raw = encode_frames(vae, videos[0], like=like)
        else:
            raw = vae.encode(torch.stack([stacked(frames) for frames in videos]).to(like))
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
