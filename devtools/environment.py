"""The virtual environment: torch, the pack's needs, the host's needs, and the test tools."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from .steps import StepFailed, run, say

OLDEST_PYTHON = (3, 10)
TOOLS = ("pytest>=8", "ruff", "mypy", "playwright")
# The wheel's ComfyUI runs without these; torchaudio only serves its audio nodes.
OPTIONAL_FOR_HOST = ("torchaudio", "comfyui-workflow-templates", "comfyui-embedded-docs")
LAST_WITHOUT_TORCHAUDIO = (0, 3, 75)


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(root: Path, host: Path) -> Path:
    """Make or complete `.venv`; a stamp of all requirements makes later runs quick."""
    if sys.version_info[:2] < OLDEST_PYTHON:
        raise StepFailed(f"Python {platform.python_version()} is too old: 3.10 or later is needed")
    venv, python = root / ".venv", python_of(root / ".venv")
    wanted = [*requirements(root / "requirements.txt"), *TOOLS, *host_requirements(host)]
    stamp_file = venv / "atlasvid.stamp"
    stamp = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()
    if stamp_file.exists() and stamp_file.read_text() == stamp:
        return python
    if not python.exists():
        say("environment", f"creating {venv.name} with Python {platform.python_version()}")
        run("environment", [sys.executable, "-m", "venv", venv], quiet=True)
    say("environment", "installing torch (several GB with CUDA; once)")
    pip: list[str | Path] = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run("environment", [*pip, "torch>=2.7", "torchvision"], quiet=True)
    say("environment", f"installing {len(wanted)} packages of the pack, the host and the tools")
    run("environment", [*pip, *wanted], quiet=True)
    stamp_file.write_text(stamp)
    return python


def requirements(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def host_requirements(host: Path) -> list[str]:
    """What the host asks for, less torch (installed first) and, on 0.3.75, what it can miss."""
    wanted = [*requirements(host / "requirements.txt"), "requests"]
    skip = {"torch", "torchvision"}
    if version_of(host) <= LAST_WITHOUT_TORCHAUDIO:
        skip |= set(OPTIONAL_FOR_HOST)
    return [w for w in wanted if re.split(r"[<>=~!\[ ]", w)[0].lower() not in skip]


def version_of(host: Path) -> tuple[int, ...]:
    found = re.search(r'__version__ = "([\d.]+)"', (host / "comfyui_version.py").read_text())
    return tuple(int(part) for part in found[1].split(".")) if found else (0,)


def bring_browser() -> None:
    """Chromium for the browser tests, where the system's packages can give it; else they skip."""
    if shutil.which("chromium") or not shutil.which("apt-get") or not hasattr(os, "geteuid"):
        return
    if os.geteuid() != 0:
        return
    say("environment", "installing chromium for the browser tests")
    try:
        run("environment", ["apt-get", "update", "-qq"], quiet=True, timeout_s=300)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        run("environment", install, quiet=True, timeout_s=600)
    except StepFailed as error:
        say("environment", f"the browser tests will be skipped: {error}")
