"""Train the tiny Wan2.1 base: `python -m atlasvid_core.tiny.make_base --vae VAE --out FILE`.

Latents of random clips are cached once, then a 6-layer DiT of width 128 learns their flow. A
whole picture comes at a frame stride of 1, 2 or 4 with its temporal RoPE coordinates scaled
alike (so r_t up to 4 is in its distribution); closeups of larger renders bring fine detail and
carry the word "closeup". It never sees more than 96 x 96 x 9 pixels and frames.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from .. import flow
from ..rope import Axes, detail_axes, rotations
from ..tensor_file import save_whole
from ..units import Grid
from ..wan.dit import WanConfig, WanDiT
from ..wan.io import load_vae
from ..wan.latents import to_model_space
from .data import BASE_FRAMES_PX, BASE_SIDE_PX, STRIDES, closeups, full_views
from .make_vae import with_channels_last
from .words import CLOSEUP, VOCABULARY, encode_prompt
from .world import Scenes, Window, random_scenes, render

CONFIG = WanConfig(width=128, ffn_width=512, layers=6)
GRID_TOK = Grid(3, 6, 6)
KINDS: tuple[int | str, ...] = (*STRIDES, CLOSEUP)
KIND_SHARES: dict[int | str, float] = {1: 0.1, 2: 0.1, 4: 0.35, CLOSEUP: 0.45}
CLOSEUP_SIZES = (0.2, 0.7)  # of the picture: an enlargement of 5 to 1.4 times
SHIFT = 2.0
EMPTY_PROMPT_SHARE = 0.1


@dataclass(frozen=True)
class Cache:
    """Model-space latents [M, 16, 3, 12, 12] in float16 and word indices [M, 8] (-1 none)."""

    latents: Tensor
    words: Tensor


def word_indices(prompt: str, view: str) -> list[int]:
    words = [w for w in prompt.split() if w in VOCABULARY] + ([CLOSEUP] if view == CLOSEUP else [])
    return [VOCABULARY.index(w) for w in words] + [-1] * (8 - len(words))


def window_of(kind: int | str, count: int, generator: torch.Generator) -> Window:
    if kind == CLOSEUP:
        return closeups(count, generator, *CLOSEUP_SIZES)
    window = full_views(count, generator)
    return Window(window.u, window.v, window.size, window.start, torch.full((count,), float(kind)))


@torch.no_grad()
def cache_latents(vae_path: Path, path: Path, clips: int, seed: int) -> dict[int | str, Cache]:
    """Render and encode `clips` clips in all, or read them back; one safetensors file."""
    if not path.exists():
        vae, tensors = with_channels_last(load_vae(vae_path)), {}
        for number, kind in enumerate(KINDS):
            generator = torch.Generator().manual_seed(seed + number)
            latents, words = [], []
            for _ in range(int(clips * KIND_SHARES[kind]) // 16):
                scenes: Scenes = random_scenes(16, generator)
                window = window_of(kind, 16, generator)
                video = render(scenes, window, BASE_FRAMES_PX, BASE_SIDE_PX, BASE_SIDE_PX)
                latents.append(to_model_space(vae.encode(video)).half().contiguous())
                words += [word_indices(scenes.prompt(i), str(kind)) for i in range(16)]
            tensors[f"{kind}.latents"] = torch.cat(latents).contiguous()
            tensors[f"{kind}.words"] = torch.tensor(words)
            print(f"cached {kind}: {len(words)} clips", flush=True)
        save_whole(tensors, path)
    tensors = load_file(path)
    return {kind: Cache(tensors[f"{kind}.latents"], tensors[f"{kind}.words"]) for kind in KINDS}


def rotation_of(kind: int | str) -> Tensor:
    axes = detail_axes(GRID_TOK)
    stride = kind if isinstance(kind, int) else 1
    return rotations(Axes(axes.t * stride, axes.h, axes.w))


def text_of(words_B8: Tensor, vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Word indices -> conditioning [B, 8, 4096]; a tenth of the prompts are emptied for CFG."""
    text = vectors[words_B8]
    keep = torch.rand(len(text), generator=generator) >= EMPTY_PROMPT_SHARE
    return text * keep[:, None, None]


def fresh_dit(start: Path | None) -> WanDiT:
    """New weights from a fixed seed, or those of a file to be trained on."""
    torch.manual_seed(0)
    model = WanDiT(CONFIG)
    torch.nn.init.zeros_(model.head.head.weight)
    if start:
        model.load_state_dict(load_file(start))
    return model


def train(model: WanDiT, cache: dict, steps: int, batch: int, peak_lr: float, checkpoint: Path):
    """AdamW on the flow loss with an exponential average of the weights, which is returned."""
    ema, first = copy.deepcopy(model), 0
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=peak_lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    if checkpoint.exists():
        state = load_file(checkpoint)
        first = int(state.pop("step"))
        model.load_state_dict({k[6:]: v for k, v in state.items() if k.startswith("model.")})
        ema.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("ema.")})
    rotation = {kind: rotation_of(kind) for kind in KINDS}
    vectors = torch.cat([encode_prompt(w)[0, :1] for w in VOCABULARY] + [torch.zeros(1, 4096)])
    began, losses = time.monotonic(), []
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(step)
        rate = min(1.0, (step - first + 1) / 100, max(0.02, 1.6 * (1 - step / steps)))
        for group in optimiser.param_groups:
            group["lr"] = peak_lr * rate
        shares = torch.tensor(list(KIND_SHARES.values()))
        kind = KINDS[torch.multinomial(shares, 1, generator=generator)]
        pick = torch.randint(len(cache[kind].latents), (batch,), generator=generator)
        x0 = cache[kind].latents[pick].float()
        noise = torch.randn(x0.shape, generator=generator)
        sigma = flow.shifted(torch.rand(batch, generator=generator), SHIFT)
        text = text_of(cache[kind].words[pick], vectors, generator)
        seen = model.tokens_forward(
            flow.noised(x0, noise, sigma),
            GRID_TOK,
            sigma * flow.TIMESTEPS,
            text,
            None,
            rotation[kind],
        )
        loss = F.mse_loss(seen, flow.velocity_target(x0, noise))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(0.998, step / (step + 10))
            torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
        losses.append(loss.item())
        if step % 50 == 49 or step == steps - 1:
            mean = sum(losses[-200:]) / len(losses[-200:])
            spent = time.monotonic() - began
            print(f"base {step + 1}/{steps} loss {mean:.4f} {spent:.0f} s", flush=True)
        if step % 100 == 99 or step == steps - 1:
            state = {f"model.{k}": v for k, v in model.state_dict().items()}
            state |= {f"ema.{k}": v for k, v in ema.state_dict().items()}
            save_whole({**state, "step": torch.tensor(step + 1)}, checkpoint)
    return ema


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--clips", type=int, default=4800)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=100, help="of the clips")
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to train on")
    args = parser.parse_args(argv)
    cache = cache_latents(args.vae, args.out.with_suffix(".latents"), args.clips, args.seed)
    checkpoint = args.out.with_suffix(".checkpoint")
    model = train(fresh_dit(args.start), cache, args.steps, args.batch, args.lr, checkpoint)
    save_whole({k: v.to(torch.bfloat16) for k, v in model.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
