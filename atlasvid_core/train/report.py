"""What a run says: a line with the time left, TensorBoard, sample videos."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from .. import flow
from .clips import Batch, Clips
from .config import Config
from .student import Joint, Student


def duration(seconds: float) -> str:
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{seconds:.0f} s"


class Reporter:
    """Prints and logs on the main process, stays silent on others."""

    def __init__(self, config: Config, first_step: int, main: bool) -> None:
        self.config, self.main, self.first = config, main, first_step
        self.began, self.board = time.monotonic(), None
        if main and config.log.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ValueError(
                    "setting log.tensorboard is true and tensorboard is missing: "
                    "pip install tensorboard, or set it to false."
                ) from None
            self.board = SummaryWriter(str(Path(config.out) / "tensorboard"), purge_step=first_step)

    def say(self, text: str) -> None:
        if self.main:
            print(f"{self.config.stage}: {text}", flush=True)

    def scalars(self, step: int, **values: float) -> None:
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def line(self, step: int, loss: float, norm: float) -> None:
        """After `step` steps: where the run is and how long it will take."""
        pace = (time.monotonic() - self.began) / (step - self.first)
        left = pace * (self.config.train.steps - step)
        self.say(
            f"step {step}/{self.config.train.steps}, loss {loss:.4f}, gradient {norm:.3g}, "
            f"{pace:.2f} s a step, {duration(left)} left"
        )

    def video(self, name: str, step: int, video: Tensor, fps: float) -> None:
        """[3, T, H, W] in -1..1 -> a file, and its middle frame on the board."""
        frames = ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0)
        path = Path(self.config.out) / "samples" / f"{step:06d}-{name}.mp4"
        write_video(path, frames, fps)
        if self.board is not None:
            self.board.add_image(name, frames[len(frames) // 2].numpy(), step, dataformats="HWC")

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def write_video(path: Path, frames: Tensor, fps: float) -> None:
    """uint8 [T, H, W, 3] -> an mp4 beside its final name, then renamed."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for frame in frames.numpy():
        writer.write(frame[..., ::-1].copy())
    writer.release()
    part.replace(path)


@torch.no_grad()
def sampled(student: Student, batch: Batch, seed: int, empty: Tensor) -> Tensor:
    """One latent [1, 16, t, h, w] of the batch's first clip, by Euler from pure noise.

    Stage 1 uses classifier-free guidance against `empty` [L, C], stage 2 none (paper, B.2).
    """
    log, config = student.config.log, student.config
    one = Batch(
        batch.clip, batch.x0[:1], batch.noise[:1], batch.sigma_B[:1], batch.text[:1],
        None if batch.proxy is None else batch.proxy[:1],
    )  # fmt: skip
    none = Batch(one.clip, one.x0, one.noise, one.sigma_B, empty.to(one.text)[None], one.proxy)
    guide = student.guide(one) if isinstance(student, Joint) else None

    def velocity(x: Tensor, sigma: float) -> Tensor:
        sigma_B = torch.full((1,), sigma, device=x.device)
        x = x.to(one.x0.dtype)
        if isinstance(student, Joint):
            return student.detail(one, x, sigma_B, guide).float()
        seen = student.velocity(one, x, sigma_B).float()
        if log.sample_cfg == 1:
            return seen
        return flow.guided(seen, student.velocity(none, x, sigma_B).float(), log.sample_cfg)

    noise = torch.randn(one.x0.shape, generator=torch.Generator().manual_seed(seed))
    levels = flow.sigmas(log.sample_steps, config.train.shift)
    return flow.euler(velocity, noise.to(one.x0.device), levels)


def sample_videos(student: Student, clips: Clips, reporter: Reporter, step: int, device) -> None:
    """Videos of held-out clips under the weights worn now; at step 0 of the truth, too."""
    from ..wan.io import load_vae
    from ..wan.latents import from_model_space

    config = student.config
    vae = load_vae(config.base.vae).to(device)
    dtype = getattr(torch, config.base.dtype)
    fps = config.data.fps / (config.data.r_t[0] if config.stage == "stage1" else 1)
    batches = clips.held_out_batches()[: config.log.sample_count]
    for number, batch in enumerate(batches):
        latents = {"sample": sampled(student, batch.to(device, dtype), number, clips.text(""))}
        if step == 0:
            latents["truth"] = batch.x0[:1].to(device)
        for name, latent in latents.items():
            with torch.no_grad():
                video = vae.decode(from_model_space(latent.float()))[0].cpu()
            reporter.video(f"{name}-{number}", step, video, fps)
