"""Train the tiny VAE's decoder on: `python -m atlasvid_core.tiny.make_decoder --vae A --out B`.

`make_vae` shows it 17 frames at most. Its convolutions look back further than that, so in longer
videos its colours drift: a picture that stands still loses 10 dB over 45 frames. Here the decoder
sees 33 frames, in small windows of pictures of up to 448 px, with a little noise on their latents,
as sampling leaves it. The encoder stays as it is, and so do latents and all that was trained on
them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..wan.io import load_vae
from ..wan.vae import WanVAE
from .data import BASE_FRAMES_PX, closeups, full_views
from .make_vae import with_channels_last
from .world import Window, random_scenes, render

FRAMES_PX, SIDES_PX = 33, (32, 32, 32, 48)  # taken in turns
PICTURE_PX = (128, 448)  # of which a window shows a part
SHORT_EVERY = 2  # every so many steps clips of the base's own size
MOST_NOISE = 0.12  # of the latents' deviation
PEAK_LR = 1e-3


def long_clip(side_px: int, generator: torch.Generator) -> Tensor:
    """-> video [1, 3, 33, side, side]: a window of a larger picture at full frame rate."""
    low, high = PICTURE_PX
    share = side_px / (low + (high - low) * torch.rand((), generator=generator).item())
    scenes = random_scenes(1, generator)
    window = closeups(1, generator, share, share)
    return render(scenes, window, FRAMES_PX, side_px, side_px)


def short_clips(generator: torch.Generator) -> Tensor:
    """-> videos [2, 3, 9, 48, 48]: quarters of pictures of 96 px at a random frame stride."""
    whole = full_views(2, generator)
    u, v = 0.5 * torch.rand(2, 2, generator=generator)
    window = Window(u, v, torch.full((2,), 0.5), whole.start, whole.stride)
    return render(random_scenes(2, generator), window, BASE_FRAMES_PX, 48, 48)


def loss_of(vae: WanVAE, video: Tensor, generator: torch.Generator) -> Tensor:
    with torch.no_grad():
        latent = vae.encode(video)
        scale = latent.std(dim=(0, 2, 3, 4), keepdim=True)
        share = MOST_NOISE * torch.rand((), generator=generator)
        latent = latent + share * scale * torch.randn(latent.shape, generator=generator)
    seen = vae.decode(latent)
    return F.mse_loss(seen, video) + 0.1 * F.l1_loss(seen, video)


def train(vae: WanVAE, steps: int, checkpoint: Path, log_every: int = 25) -> None:
    """AdamW on the decoder and `conv2`, the rate falling to its end; goes on from `checkpoint`."""
    vae.requires_grad_(False)
    weights = [*vae.conv2.parameters(), *vae.decoder.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights, lr=PEAK_LR, betas=(0.9, 0.95), weight_decay=1e-4)
    first = 0
    if checkpoint.exists():
        state = load_file(checkpoint)
        first = int(state.pop("step"))
        vae.load_state_dict(state)
    began, total = time.monotonic(), 0.0
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(step)
        warm, left = min(1.0, (step - first + 1) / 50), 1 - step / steps
        for group in optimiser.param_groups:
            group["lr"] = PEAK_LR * warm * max(0.02, min(1.0, 2 * left))
        if step % SHORT_EVERY == 0:
            video = short_clips(generator)
        else:
            video = long_clip(SIDES_PX[step // SHORT_EVERY % len(SIDES_PX)], generator)
        loss = loss_of(vae, video, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        total += loss.item()
        if step % log_every == log_every - 1 or step == steps - 1:
            mean, total = total / (step % log_every + 1), 0.0
            spent = time.monotonic() - began
            print(f"decoder {step + 1}/{steps} loss {mean:.4f} {spent:.0f} s", flush=True)
            state = {k: v.contiguous() for k, v in vae.state_dict().items()}
            save_file({**state, "step": torch.tensor(step + 1)}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--steps", type=int, default=950)
    args = parser.parse_args(argv)
    vae = with_channels_last(load_vae(args.vae))
    train(vae, args.steps, args.out.with_suffix(".checkpoint"))
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in vae.state_dict().items()}, args.out)


if __name__ == "__main__":
    main()
