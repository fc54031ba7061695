"""Reading a cache: clips in buckets, and which of them make up batch number n.

All randomness of training is a function of the seed and a number (of an epoch or a batch), so the
position in the data is one number and a run can go on from anywhere, on any number of processes.

Shapes: B clips, L text tokens, C channels of the text.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from .. import flow
from . import listing
from .cache import Clip, clips_in, shard_file, text_file
from .config import Config
from .listing import marks_of


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips of one bucket at their noise levels: latents [B, 16, t, h, w], text [B, L, C].

    `proxy` is the clean proxy [B, 16, t', h', w'], None in stage 1.
    """

    clip: Clip  # geometry of all of them
    x0: Tensor
    noise: Tensor
    sigma_B: Tensor
    text: Tensor
    proxy: Tensor | None

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        proxy = None if self.proxy is None else self.proxy.to(device, dtype)
        moved = (x.to(device, dtype) for x in (self.x0, self.noise, self.text))
        x0, noise, text = moved
        return Batch(self.clip, x0, noise, self.sigma_B.to(device), text, proxy)


class Clips:
    """The clips of a cache, those of the last `held_out` videos apart."""

    def __init__(self, config: Config) -> None:
        self.config, self.folder = config, Path(config.data.cache)
        rows = _index(config, self.folder)
        if not rows:
            raise ValueError(f"The cache {self.folder} holds no clips: run `cache` first.")
        self.shard_of = {clip.number: path for clip, path in rows}
        clips = sorted((clip for clip, _ in rows), key=lambda clip: clip.number)
        videos = sorted({clip.video for clip in clips})
        last = set(videos[max(0, len(videos) - config.data.held_out) :])
        self.held_out = [clip for clip in clips if clip.video in last]
        self.training = [clip for clip in clips if clip.video not in last]
        if not self.training:
            raise ValueError(
                f"setting data.held_out is {config.data.held_out}: that leaves no video of the "
                f"cache {self.folder} for training. Lower it."
            )
        self.per_epoch = len(_batches(self.training, config.train.batch, None))
        self._order: tuple[int, list[list[Clip]]] = (-1, [])  # an epoch and its batches

    def thin_batches(self) -> str:
        """What to say where geometry keeps clips from filling batches; "" where it does not."""
        wanted, count = self.config.train.batch, len(self.training)
        if self.per_epoch <= 1.25 * -(-count // wanted):
            return ""
        return (
            f"a batch holds {count / self.per_epoch:.1f} clips on average, not the {wanted} of "
            f"train.batch: others have another geometry. With data.group={wanted} in another cache "
            "they come in groups that share one"
        )

    def batch(self, number: int) -> Batch:
        """Training batch `number`, counted over all epochs and processes."""
        epoch, place = divmod(number, self.per_epoch)
        if self._order[0] != epoch:
            shuffle = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
            self._order = epoch, _batches(self.training, self.config.train.batch, shuffle)
        clips = self._order[1][place]
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_000_007 + number)
        sigma_B = torch.rand(len(clips), generator=generator)
        share = self.config.train.empty_prompt_share
        return self._load(clips, generator, sigma_B, share)

    @property
    def held_out_identities(self) -> list[str]:
        """Change with what a held-out loss is the loss of; first as it is named now, then as
        earlier versions named the same."""
        told = [clip.number for clip in self.held_out], self.config.train.batch
        named = [f"{mark} {told}" for mark in marks_of(self.config)]
        return [hashlib.sha256(name.encode()).hexdigest()[:16] for name in named]

    def held_out_batches(self) -> list[Batch]:
        """The held-out clips at noise levels that are the same in every run."""
        out = []
        for number, clips in enumerate(_batches(self.held_out, self.config.train.batch, None)):
            generator = torch.Generator().manual_seed(number)
            spread = (torch.arange(len(clips)) + 0.5) / len(clips) if len(clips) > 1 else None
            level = torch.tensor([(number * 0.618034) % 1]) if spread is None else spread
            out.append(self._load(clips, generator, level, 0.0))
        return out

    def _load(self, clips: list[Clip], generator, uniform_B: Tensor, empty_share: float) -> Batch:
        x0 = torch.stack([self._tensor(clip, "clip") for clip in clips])
        noise = torch.randn(x0.shape, generator=generator)
        which = int(torch.randint(1 << 30, (), generator=generator))
        proxy = None
        if count := len(clips[0].proxies_lat):
            name = f"proxy{which % count}"
            proxy = torch.stack([self._tensor(clip, name) for clip in clips])
        emptied = torch.rand(len(clips), generator=generator) < empty_share
        captions = ["" if no else clip.caption for clip, no in zip(clips, emptied, strict=True)]
        text = torch.stack([self.text(caption) for caption in captions])
        sigma_B = flow.shifted(uniform_B, self.config.train.shift)
        return Batch(clips[0], x0, noise, sigma_B, text, proxy)

    def _tensor(self, clip: Clip, name: str) -> Tensor:
        with safe_open(self.shard_of[clip.number], "pt") as file:
            return file.get_tensor(f"{clip.number}.{name}").float()

    def text(self, caption: str) -> Tensor:
        """-> [text_tokens, C], zeros behind the last token."""
        text = _text(text_file(self.folder, caption))
        missing = self.config.data.text_tokens - len(text)
        if missing < 0:
            raise ValueError(
                f"The caption {caption[:60]!r} has {len(text)} tokens, data.text_tokens is "
                f"{self.config.data.text_tokens}. Raise it."
            )
        return F.pad(text.float(), (0, 0, 0, missing))


@lru_cache(maxsize=4096)
def _text(path: Path) -> Tensor:
    return load_file(path)["text"]


def _index(config: Config, folder: Path) -> list[tuple[Clip, Path]]:
    """All clips, and where they lie. ValueError where the cache is another one, or half made."""
    made_of = listing.read(folder)
    if made_of is None:
        raise ValueError(f"{folder} holds no cache: run `cache` with this config first.")
    if made_of.fingerprint not in marks_of(config):
        raise ValueError(
            f"The cache {folder} was made with other settings (data, base.vae, stage or seed). "
            "Run `cache` with this config into another folder."
        )
    paths = sorted(folder.glob("shard-*.safetensors"))
    if made_of.rows is not None:
        count = len(made_of.shards(config.data.passes, config.data.shard))
        paths = [path for path in (shard_file(folder, i) for i in range(count)) if path.exists()]
        if len(paths) < count:
            raise ValueError(
                f"The cache {folder} is not finished: {len(paths)} of its {count} shards are "
                "there. Run `cache` with this config to its end."
            )
    return [(clip, path) for path in paths for clip in clips_in(path)]


def _batches(clips: list[Clip], size: int, generator: torch.Generator | None) -> list[list[Clip]]:
    """Clips by bucket in batches of at most `size`; shuffled within and among, or as they come."""
    buckets = defaultdict(list)
    for clip in clips:
        buckets[clip.bucket].append(clip)
    out = []
    for bucket in buckets.values():
        order = range(len(bucket))
        if generator is not None:
            order = torch.randperm(len(bucket), generator=generator).tolist()
        members = [bucket[i] for i in order]
        out += [members[i : i + size] for i in range(0, len(members), size)]
    if generator is not None:
        out = [out[i] for i in torch.randperm(len(out), generator=generator).tolist()]
    return out
