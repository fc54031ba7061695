"""Say what is being done, and do it: commands whose failure is one clear line."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

NOISE = re.compile(r"\s*(WARNING|\[notice\]|DEPRECATION|$)")


class StepFailed(Exception):
    """A step that did not work; `status` is the exit status for the shell."""

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
    """Runs a command to its end; `quiet` keeps its output, `check` turns a failure into StepFailed.

    Whatever ends this process early (Ctrl-C, SIGTERM) also ends the command, which gets the time
    to stop what it started.
    """
    words = [str(word) for word in command]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            text=True,
            errors="replace",
            **pipes,  # type: ignore
        )
    except OSError as error:
        raise StepFailed(f"{step}: {words[0]!r} can't be run: {error.strerror}", 127) from None
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        end(process)
        raise StepFailed(f"{step}: no end after {timeout_s:.0f} s: {' '.join(words)}") from None
    except BaseException:
        end(process)
        raise
    status = process.returncode
    if check and status:
        raise StepFailed(f"{step} failed (status {status}): {reason(output, words)}", status)
    return status


def reason(output: str | None, words: Sequence[str]) -> str:
    """The line of a failed command's output that says most; the command where it said nothing."""
    lines = [line.strip() for line in (output or "").splitlines() if not NOISE.match(line)]
    errors = [line for line in lines if re.match(r"(ERROR|fatal|E):", line)]
    return (errors or lines or [" ".join(words)])[-1]


def end(process: subprocess.Popen, patience_s: float = 15) -> None:
    """Asks a process to stop, and kills it where it does not."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
