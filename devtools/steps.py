"""Say what is being done, and do it: commands whose failure is one clear line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class StepFailed(Exception):
    """A step that did not work; `status` is the process's exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def say(step: str, text: str) -> None:
    print(f"[{step}] {text}", flush=True)


def run(
    step: str,
    command: Sequence[str | Path | int],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    quiet: bool = False,
    timeout_s: float | None = None,
) -> int:
    """Run a command; with `check` a failure raises StepFailed with its last line of output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=env,
            timeout=timeout_s,
            text=True,
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
        )
    except FileNotFoundError:
        raise StepFailed(f"{step}: the program {words[0]!r} is not installed", 127) from None
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{step}: no end after {timeout_s:.0f} s: {' '.join(words)}") from None
    if check and done.returncode:
        lines = [line for line in (done.stdout or "").splitlines() if line.strip()]
        raise StepFailed(
            f"{step} failed (status {done.returncode}): {lines[-1] if lines else ' '.join(words)}",
            done.returncode,
        )
    return done.returncode
