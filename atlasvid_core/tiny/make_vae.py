"""Train the tiny Wan2.1 VAE on the procedural world: `python -m atlasvid_core.tiny.make_vae`.

Single frames first, since they are cheap and teach the spatial half; then clips of 9 frames
(fewer would never show the decoder a third latent). Deterministic means, no KL term: a little
noise on the normalised latents keeps the decoder smooth. At the end the two 1 x 1 x 1
convolutions absorb the affine map that gives the latents Wan's own statistics.
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
from ..wan.latents import LATENT_MEAN, LATENT_STD
from ..wan.vae import ResidualBlock, WanVAE
from .data import mixed_clips

DIM = 8
LATENT_NOISE = 0.03


def fresh_vae(seed: int = 0) -> WanVAE:
    """Residual branches at zero and all else orthogonal, so that signal passes from step 0."""
    torch.manual_seed(seed)
    vae = WanVAE(DIM)
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.orthogonal_(module.weight.view(module.weight.shape[0], -1))
            if isinstance(module, nn.Conv3d) and module.kernel_size[0] == 3:
                _act_on_the_present(module)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in vae.modules():
        if isinstance(module, ResidualBlock):
            _zero(module.residual[-1])
    return vae


def _zero(conv: nn.Module) -> None:
    assert isinstance(conv, nn.Conv3d)
    nn.init.zeros_(conv.weight)


@torch.no_grad()
def _act_on_the_present(conv: nn.Conv3d) -> None:
    """Put all of a causal kernel's weight on the newest frame."""
    weight = torch.empty_like(conv.weight[:, :, -1])
    nn.init.orthogonal_(weight.view(weight.shape[0], -1))
    conv.weight.zero_()
    conv.weight[:, :, -1] = weight


def with_channels_last(vae: WanVAE) -> WanVAE:
    """The same VAE with channels innermost in its kernels: 1.7 times as fast on a CPU."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    return vae


def loss_of(vae: WanVAE, video: Tensor) -> Tensor:
    latent = vae.encode(video)
    scale = latent.detach().std(dim=(0, 2, 3, 4), keepdim=True)
    seen = vae.decode(latent + LATENT_NOISE * scale * torch.randn_like(latent))
    return F.mse_loss(seen, video) + 0.1 * F.l1_loss(seen, video)


@torch.no_grad()
def psnr_db(
    vae: WanVAE, count: int = 4, frames: int = 9, side_px: int = 96, seed: int = 999
) -> float:
    """Mean PSNR (dB, pixels 0..1) over unseen clips."""
    video = mixed_clips(count, frames, side_px, torch.Generator().manual_seed(seed))[0]
    error = ((vae.decode(vae.encode(video)).clamp(-1, 1) - video) / 2).square()
    return (-10 * torch.log10(error.mean(dim=(1, 2, 3, 4)))).mean().item()


@torch.no_grad()
def give_wan_statistics(vae: WanVAE, clips: int = 64) -> None:
    """Fold the affine map to Wan's latent means and deviations into `conv1` and `conv2`."""
    generator = torch.Generator().manual_seed(5)
    latents = [vae.encode(mixed_clips(8, 9, 96, generator)[0]) for _ in range(clips // 8)]
    latent = torch.cat(latents).transpose(0, 1).flatten(1)
    gain = torch.tensor(LATENT_STD) / latent.std(dim=1)
    shift = torch.tensor(LATENT_MEAN) - gain * latent.mean(dim=1)
    assert vae.conv1.bias is not None and vae.conv2.bias is not None
    vae.conv1.weight[:16] *= gain.view(-1, 1, 1, 1, 1)
    vae.conv1.bias[:16] = vae.conv1.bias[:16] * gain + shift
    vae.conv2.bias -= (vae.conv2.weight[:, :, 0, 0, 0] / gain) @ shift
    vae.conv2.weight /= gain.view(1, -1, 1, 1, 1)


def train(
    vae: WanVAE, steps: int, frame_steps: int, checkpoint: Path, log_every: int = 100
) -> None:
    optimiser = torch.optim.AdamW(vae.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=1e-4)
    first = 0
    if checkpoint.exists():
        state = load_file(checkpoint)
        first = int(state.pop("step"))
        vae.load_state_dict(state)
    began = time.monotonic()
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(step)
        warm, left = min(1.0, (step - first + 1) / 50), 1 - step / steps
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * warm * max(0.03, min(1.0, 2 * left))
        shape = (8, 1, 64) if step < frame_steps else (2, 9, 64) if step % 8 else (2, 17, 48)
        loss = loss_of(vae, mixed_clips(*shape, generator)[0])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        if step % log_every == log_every - 1 or step == steps - 1:
            spent = time.monotonic() - began
            print(
                f"vae {step + 1}/{steps} loss {loss:.4f} psnr {psnr_db(vae):.2f} dB {spent:.0f} s",
                flush=True,
            )
            state = {k: v.contiguous() for k, v in vae.state_dict().items()}
            state["step"] = torch.tensor(step + 1)
            save_whole(state, checkpoint)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--frame-steps", type=int, default=700)
    args = parser.parse_args(argv)
    vae = with_channels_last(fresh_vae())
    train(vae, args.steps, args.frame_steps, args.out.with_suffix(".checkpoint"))
    before = psnr_db(vae)
    give_wan_statistics(vae)
    print(f"psnr {before:.2f} dB, with Wan's statistics {psnr_db(vae):.2f} dB", flush=True)
    save_whole(
        {k: v.to(torch.bfloat16).contiguous() for k, v in vae.state_dict().items()}, args.out
    )


if __name__ == "__main__":
    main()
