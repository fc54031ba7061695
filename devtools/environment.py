"""The virtual environment: torch, the pack's needs, the host's needs, and the test tools."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from .steps import StepFailed, run, say

TORCH = ("torch>=2.7", "torchvision>=0.22")
TOOLS = (
    "pytest>=8", "ruff", "mypy", "playwright",
    "matplotlib", "psutil", "tomli; python_version < '3.11'",  # the benches
    "accelerate", "peft>=0.18", "tensorboard",  # the trainer
)  # fmt: skip
# A host of the 0.3 line runs without these; torchaudio only serves its audio nodes.
OPTIONAL_FOR_HOST = ("torchaudio", "comfyui-workflow-templates", "comfyui-embedded-docs")
NEEDS_ALL_FROM = (0, 4)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(root: Path, host: Path) -> Path:
    """Makes or completes `.venv`, and returns its python; a stamp makes later calls quick.

    Raises StepFailed.
    """
    venv, python = root / ".venv", python_of(root / ".venv")
    wanted = [*requirements(root / "requirements.txt"), *TOOLS, *host_requirements(host)]
    stamp = hashlib.sha256("\n".join([sys.version, *TORCH, *wanted]).encode()).hexdigest()
    stamp_file = venv / "atlasvid.stamp"
    if python.exists() and stamp_file.exists() and stamp_file.read_text() == stamp:
        return python
    began = time.monotonic()
    make_venv(venv, python)
    pip: list = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    say("environment", "installing torch and torchvision (once; some minutes and GB)")
    run("pip", [*pip, *TORCH], quiet=True)
    say("environment", f"installing {len(wanted)} more: the pack's, ComfyUI's and test tools")
    run("pip", [*pip, *wanted], quiet=True)
    part = stamp_file.with_suffix(".part")
    part.write_text(stamp)
    part.replace(stamp_file)
    say("environment", f"ready after {time.monotonic() - began:.0f} s")
    return python


def make_venv(venv: Path, python: Path) -> None:
    """A virtual environment with pip in it; one that works is kept."""
    if python.exists() and works([python, "-m", "pip", "--version"]):
        return
    say("environment", f"creating {venv.name} with Python {platform.python_version()}")
    make: list = [sys.executable, "-m", "venv", "--clear", venv]
    if works(make):
        return
    # Some Linux distributions split ensurepip off: then the caller's own pip brings pip.
    run("venv", [*make, "--without-pip"], quiet=True)
    run(
        "pip", [sys.executable, "-m", "pip", "--python", python, "install", "-q", "pip"], quiet=True
    )


def works(command: list) -> bool:
    try:
        return subprocess.run([str(w) for w in command], capture_output=True).returncode == 0
    except OSError:
        return False


def requirements(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def host_requirements(host: Path) -> list[str]:
    """What the host asks for, less torch (installed first) and what it can miss."""
    skip = {"torch", "torchvision"}
    if version_of(host) < NEEDS_ALL_FROM:
        skip |= set(OPTIONAL_FOR_HOST)
    wanted = [*requirements(host / "requirements.txt"), "requests"]
    return [w for w in wanted if re.split(r"[<>=~!\[ ]", w)[0].lower() not in skip]


def version_of(host: Path) -> tuple[int, ...]:
    """ComfyUI's version; (0,) where it does not say."""
    file = host / "comfyui_version.py"
    found = re.search(r'__version__ = "([\d.]+)"', file.read_text()) if file.is_file() else None
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def brought(python: Path, package: str) -> bool:
    """Whether a package is in the environment, installed now where need be; a failure is said."""
    known = f"import importlib.metadata as m; m.version({package!r})"
    if works([python, "-c", known]):
        return True
    say("environment", f"installing {package}")
    pip: list = [python, "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    try:
        run("pip", [*pip, "--retries", "1", package], quiet=True, timeout_s=300)
    except StepFailed as error:
        say("environment", f"{package} can't be installed, passed over: {error}")
        return False
    return True


def has_accelerator(python: Path) -> bool:
    """Whether torch there sees a GPU; without one ComfyUI must be told so."""
    return works([python, "-c", "import torch; assert torch.accelerator.is_available()"])


def bring_browser() -> None:
    """Chromium for the browser tests, where this machine's packages can give it; else they skip."""
    if any(shutil.which(name) for name in BROWSERS):
        return
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        say("environment", "no chromium here: the browser tests will be skipped")
        return
    say("environment", "installing chromium for the browser tests")
    try:
        run("apt-get", ["apt-get", "update", "-qq"], quiet=True, timeout_s=200)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", install, quiet=True, timeout_s=400, env=env)
    except StepFailed as error:
        say("environment", f"the browser tests will be skipped: {error}")
