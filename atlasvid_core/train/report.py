"""What a run says: a line with the time left, TensorBoard, sample videos."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import flow
from ..budget import GIB
from ..decode import decode_pixels
from ..tile_plan import plan_tiles
from ..walk import frames_px
from .clips import Batch, Clips
from .config import Config
from .student import Joint, Student

DECODE_BYTES = 4 * GIB  # of a sample's decode beside the VAE, whatever the video's size


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

    @property
    def samples(self) -> Path:
        return Path(self.config.out) / "samples"

    def video(
        self, name: str, step: int, frames: Iterable[Tensor], middle: int, fps: float
    ) -> None:
        """Frames, uint8 [H, W, 3] -> a file, and the one of number `middle` on the board."""

        def passing() -> Iterator[Tensor]:
            for number, frame in enumerate(frames):
                if number == middle and self.board is not None:
                    self.board.add_image(name, frame.numpy(), step, dataformats="HWC")
                yield frame

        write_video(self.samples / f"{step:06d}-{name}.mp4", passing(), fps)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def write_video(path: Path, frames: Iterable[Tensor], fps: float) -> None:
    """Frames, uint8 [H, W, 3], as they come -> an mp4 beside its final name, then renamed."""
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    part, writer = path.with_name(f"part-{path.name}"), None
    for frame in frames:
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        writer.write(frame.numpy()[..., ::-1].copy())
    assert writer is not None
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


@torch.no_grad()
def decoded(vae: nn.Module, latent_16THW: Tensor, folder: Path) -> Iterator[Tensor]:
    """A latent as the DiT sees it -> frames, uint8 [H, W, 3]; what is parked lies in `folder`."""
    from ..wan.latents import from_model_space

    h, w = latent_16THW.shape[2:]
    plan = plan_tiles(vae, (h, w), DECODE_BYTES)
    raw = from_model_space(latent_16THW.float()[None])[0]
    for frame in decode_pixels(vae, raw, plan, folder, bits=8):
        yield frame[0]


def sample_videos(student: Student, clips: Clips, reporter: Reporter, step: int, device) -> None:
    """Videos of held-out clips under the weights worn now; at step 0 of the truth, too."""
    from ..wan.io import load_vae

    config = student.config
    vae = load_vae(config.base.vae).to(device)
    dtype = getattr(torch, config.base.dtype)
    fps = config.data.fps / (config.data.r_t[0] if config.stage == "stage1" else 1)
    reporter.samples.mkdir(parents=True, exist_ok=True)
    batches = clips.held_out_batches()[: config.log.sample_count]
    for number, batch in enumerate(batches):
        latents = {"sample": sampled(student, batch.to(device, dtype), number, clips.text(""))}
        if step == 0:
            latents["truth"] = batch.x0[:1].to(device)
        for name, latent in latents.items():
            with torch.autocast(latent.device.type, enabled=False):  # the VAE stays in float32
                frames = decoded(vae, latent[0], reporter.samples)
                middle = frames_px(latent.shape[2]) // 2
                reporter.video(f"{name}-{number}", step, frames, middle, fps)
