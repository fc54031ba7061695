"""Train the tiny VAE's decoder on: `python -m atlasvid_core.tiny.make_decoder --vae A --out B`.

`make_vae` leaves two things to be wished for, and this mends both. It shows the decoder 17 frames
at most, whose convolutions look back further than that, so in longer videos its colours drift: a
picture that stands still loses 10 dB over 45 frames. And in squared errors edges hardly count, so
it leaves them soft although the latents know where they are. Here the decoder sees 33 frames, in
small windows of large pictures, with a little noise on their latents, as sampling leaves it, and
errors of gradients count, too. The encoder stays as it is, and so do latents and all that was
trained on them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..tensor_file import save_whole
from ..wan.io import load_vae
from ..wan.vae import WanVAE
from .data import BASE_FRAMES_PX, closeups, full_views
from .make_vae import with_channels_last
from .world import Window, random_scenes, render

LONG_FRAMES_PX, SHARP_FRAMES_PX, SHARP_SIDE_PX = 33, 5, 64
PICTURE_PX = (256, 448)  # of which a window shows a part
MOST_NOISE = 0.06  # of the latents' deviation
PEAK_LR = 1e-3
GRADIENTS, OWN_GRADIENTS = 6.0, 0.02  # weights of errors, plain and in parts of a clip's own


def windows(count: int, frames: int, side_px: int, generator: torch.Generator) -> Tensor:
    """-> videos [B, 3, T, side, side]: windows of a larger picture at full frame rate."""
    low, high = PICTURE_PX
    share = side_px / (low + (high - low) * torch.rand((), generator=generator).item())
    scenes = random_scenes(count, generator)
    window = closeups(count, generator, share, share)
    return render(scenes, window, frames, side_px, side_px)


def clips_of(step: int, generator: torch.Generator) -> Tensor:
    """In turns: the base's own size, small long windows, larger ones, still larger short ones."""
    kind = step % 4
    if kind == 0:
        return short_clips(generator)
    if kind == 3:
        return windows(3, SHARP_FRAMES_PX, SHARP_SIDE_PX, generator)
    return windows(1, LONG_FRAMES_PX, (32, 48)[kind - 1], generator)


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
    wrong, right = _gradient_energy(seen - video), _gradient_energy(video)
    edges = GRADIENTS * wrong + OWN_GRADIENTS * wrong / (right + 1e-4)
    return F.mse_loss(seen, video) + 0.1 * F.l1_loss(seen, video) + edges.mean()


def _gradient_energy(video: Tensor) -> Tensor:
    """Mean squares of the differences along h and along w, added up, [B]."""
    return sum(video.diff(dim=dim).square().mean((1, 2, 3, 4)) for dim in (-2, -1))


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
        loss = loss_of(vae, clips_of(step, generator), generator)
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
            save_whole({**state, "step": torch.tensor(step + 1)}, checkpoint)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--steps", type=int, default=4600)
    args = parser.parse_args(argv)
    vae = with_channels_last(load_vae(args.vae))
    train(vae, args.steps, args.out.with_suffix(".checkpoint"))
    save_whole(
        {k: v.to(torch.bfloat16).contiguous() for k, v in vae.state_dict().items()}, args.out
    )


if __name__ == "__main__":
    main()
