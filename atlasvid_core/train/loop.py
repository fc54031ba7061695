"""The training loop: steps, held-out loss, samples, state, and what ends a run.

Every process works through batches step * accumulate * processes + ..., so several processes with
fewer accumulated batches make the gradients of one with more. Source: paper appendix B.1.
"""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch

from .clips import Clips
from .config import Config, TrainConfig
from .ema import Ema
from .export import export
from .report import Reporter, sample_videos
from .resume import Position, check_settings, check_shared, load_state, save_state
from .student import Student, make_student

STOPPED = 130
MOST_WAIT = timedelta(hours=4)  # of processes for the one that samples: 10 minutes by default


def run(config: Config) -> int:
    """Train to the end, from the last state if there is one. -> 0, or 130 after Ctrl-C."""
    return Run(config).train()


class Run:
    """A run's parts. `accelerator` is accelerate's: devices, precision, processes."""

    def __init__(self, config: Config) -> None:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

        train = config.train
        self.config, self.clips = config, Clips(config)
        one_copy = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        self.accelerator = Accelerator(
            mixed_precision=train.precision, cpu=train.cpu,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=MOST_WAIT), one_copy],
        )  # fmt: skip
        self.device, self.out = self.accelerator.device, Path(config.out)
        self.student: Student = make_student(config, self.device)
        self.weights = self.student.trainable()
        optimiser = torch.optim.AdamW(
            list(self.weights.values()), train.lr, (train.betas[0], train.betas[1]),
            weight_decay=train.weight_decay,
        )  # fmt: skip
        self.network, self.optimiser = self.accelerator.prepare(self.student, optimiser)
        self.ema, self.position = Ema(self.weights, train.ema), Position()
        check_shared(self.state_file, self.accelerator)
        unsure = ""
        if self.state_file.exists():
            unsure = check_settings(self.state_file, config)
            plain = self.optimiser.optimizer
            self.position = load_state(self.state_file, plain, self.ema)
        self.reporter = Reporter(config, self.position.step, self.accelerator.is_main_process)
        if unsure:
            self.reporter.say(unsure)
        self.compare_with_own_clips()

    def compare_with_own_clips(self) -> None:
        """Where the held-out clips are others than before, the best starts anew beside the old."""
        position, same = self.position, self.clips.held_out_identities
        before, position.held_out = position.held_out, same[0]
        if before in ("", *same):
            return
        position.best, best = float("inf"), self.out / "best"
        kept = self.out / f"best-{before}"
        if best.exists() and not kept.exists() and self.accelerator.is_main_process:
            best.rename(kept)
        self.reporter.say(
            f"other clips are held out than before: the best so far is kept in {kept}, and what "
            "follows is compared with itself alone"
        )

    @property
    def state_file(self) -> Path:
        return self.out / "state.safetensors"

    def train(self) -> int:
        first, log = self.position.step, self.config.log
        count = sum(p.numel() for p in self.weights.values())
        self.reporter.say(
            f"{count:,} weights, {len(self.clips.training):,} clips, from step {first}"
        )
        if thin := self.clips.thin_batches():
            self.reporter.say(thin)
        if first == 0:
            self.look()
        if first >= self.config.train.steps:  # it may have ended between the state and its export
            self.export()
        loss_sum, since = 0.0, 0
        with interrupts() as pressed:
            while self.position.step < self.config.train.steps:
                loss, norm = self.step()
                loss_sum, since, step = loss_sum + loss, since + 1, self.position.step
                last = step == self.config.train.steps
                stop = self._any(bool(pressed))
                if last or (log.line and step % log.line == 0):
                    self.reporter.line(step, loss_sum / since, norm)
                    self.reporter.scalars(step, loss=loss_sum / since, gradient=norm)
                    loss_sum, since = 0.0, 0
                if not stop:
                    self.look(last)
                if stop or last or (log.save and step % log.save == 0):
                    self.save()
                if stop and not last:
                    self.reporter.say(f"stopped after step {step}; the same command goes on")
                    self._close()
                    return STOPPED
        self._close()
        return 0

    def step(self) -> tuple[float, float]:
        """One optimiser step -> (loss, gradient norm), the same on every process.

        Without finite gradients the weights stay; `bad_steps` of those in a row end the run.
        """
        train, position = self.config.train, self.position
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(train, position.step)
        loss = self.gradients(position.step)
        most = train.clip or float("inf")
        norm = float(self.accelerator.clip_grad_norm_(list(self.weights.values()), most))
        position.step += 1
        finite = bool(torch.isfinite(torch.tensor([loss, norm])).all())
        if finite or self.accelerator.scaler is not None:
            self.optimiser.step()  # a scaler passes over gradients that are not, and scales less
        if finite:
            self.ema.update(position.step)
            position.bad = 0
        else:
            position.bad, position.skipped = position.bad + 1, position.skipped + 1
            self.reporter.say(f"step {position.step}: gradients are not finite, step left out")
        self.optimiser.zero_grad(set_to_none=True)
        if position.bad >= train.bad_steps:
            raise ValueError(
                f"{position.bad} steps in a row had no finite gradients; {self.state_file} holds "
                "the last good state. Lower train.lr, or set train.precision to bf16 or no."
            )
        return loss, norm

    def gradients(self, step: int) -> float:
        """Leave the mean gradients of this step's batches in `.grad`; -> their mean loss."""
        accelerator, each = self.accelerator, self.config.train.accumulate
        world, total = accelerator.num_processes, torch.zeros((), device=self.device)
        for i in range(each):
            number = (step * each + i) * world + accelerator.process_index
            batch = self.clips.batch(number).to(self.device, torch.float32)
            idle = accelerator.no_sync(self.network) if i < each - 1 else contextlib.nullcontext()
            with idle:
                loss = self.network(batch).mean() / each
                accelerator.backward(loss)
            total += loss.detach()
        return float(accelerator.reduce(total, "mean"))

    def look(self, last: bool = False) -> None:
        """The held-out loss, the best weights so far, sample videos: when they are due."""
        log, step = self.config.log, self.position.step
        if log.validate and (last or step % log.validate == 0) and self.clips.held_out:
            with self.ema.worn():
                loss = self.held_out_loss()
                # no loss that is not a number is; a best that is none, an earlier version left
                better = math.isfinite(loss) and not self.position.best <= loss
                if better and self.accelerator.is_main_process and step:
                    export(self.student, self.clips.training, self.out / "best", step)
            self.position.best = loss if better else self.position.best
            self.reporter.say(f"step {step}, held-out loss {loss:.5f}{' (best)' * better}")
            self.reporter.scalars(step, held_out_loss=loss)
        due = log.sample and (last or step % log.sample == 0) and self.config.base.vae
        if due and self.clips.held_out and self.accelerator.is_main_process:
            self.sample()

    def sample(self) -> None:
        """Sample videos; what keeps them from being made is said and does not end the run."""
        step = self.position.step
        try:
            with self.ema.worn(), self.accelerator.autocast():
                sample_videos(self.student, self.clips, self.reporter, step, self.device)
        except (RuntimeError, OSError, ValueError) as error:  # of memory, of the disk, of a file
            self.reporter.say(
                f"step {step}: no sample videos ({type(error).__name__}: {error}). Training goes "
                "on; log.sample=0 leaves them out"
            )
        torch.cuda.empty_cache()  # for the steps to come; without CUDA nothing

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean flow loss over the held-out clips, shared out among the processes."""
        total = torch.zeros(2, device=self.device, dtype=torch.float64)
        accelerator = self.accelerator
        mine = self.clips.held_out_batches()[accelerator.process_index :: accelerator.num_processes]
        for batch in mine:
            with accelerator.autocast():
                losses = self.student(batch.to(self.device, torch.float32)).double()
            total += torch.stack([losses.sum(), torch.ones_like(losses).sum()])
        total = accelerator.reduce(total, "sum")
        return float(total[0] / total[1])

    def save(self) -> None:
        """The full state, and what it comes to as files for ComfyUI: the average's weights."""
        if self.accelerator.is_main_process:
            plain = self.optimiser.optimizer
            save_state(self.state_file, plain, self.ema, self.position, self.config)
        self.export()

    def export(self) -> None:
        if self.accelerator.is_main_process:
            with self.ema.worn():
                export(self.student, self.clips.training, self.out, self.position.step)
        self.accelerator.wait_for_everyone()

    def _any(self, flag: bool) -> bool:
        """Whether the flag is up on any process: all of them stop after the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        count = torch.tensor(float(flag), device=self.device)
        return bool(self.accelerator.reduce(count, "sum") > 0)

    def _close(self) -> None:
        self.reporter.close()
        self.accelerator.end_training()


def learning_rate(train: TrainConfig, step: int) -> float:
    """Of step 0, 1, ...: linear from 0 over `warmup`, back towards 0 over the last `cooldown`."""
    up = (step + 1) / max(1, train.warmup)
    down = (train.steps - step) / (train.cooldown + 1)
    return train.lr * min(1.0, up, down)


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM fill the list instead of ending the program at once; a second one ends it.

    Outside the main thread signals cannot be caught, and stay as they are.
    """
    pressed: list[int] = []

    def note(number: int, _frame) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield pressed
        return
    try:
        yield pressed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
