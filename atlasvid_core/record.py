"""The form of every file of figures: what ran where, raw rows, and targets held against them.

{"device", "versions", "rows", "targets": {name: {"value", "target", "ok"}}}; other keys may stand
between. Names of this machine and of what it runs; nothing is measured here.
"""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


def device_name() -> str:
    """-> "AMD EPYC, 2 cores", and the GPU behind it where there is one."""
    cores = torch.get_num_threads()
    name = f"{_cpu_model()}, {cores} core" + "s" * (cores != 1)
    if not torch.accelerator.is_available():
        return name
    found = torch.accelerator.current_accelerator()
    assert found is not None
    gpu = torch.cuda.get_device_name(found) if found.type == "cuda" else found.type
    return f"{name}; {gpu}"


def versions() -> dict[str, str | None]:
    """Of Python, torch, the host that COMFYUI_PATH names (None without one), and this pack."""
    host = os.environ.get("COMFYUI_PATH")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "host": _quoted(r'__version__ = "(.+)"', Path(host, "comfyui_version.py"))
        if host
        else None,
        "atlasvid": _quoted(r'(?m)^version = "(.+)"', ROOT / "pyproject.toml"),
    }


def write_figures(file: Path, rows: list[dict], targets: dict[str, dict], **more) -> None:
    """Write one file of figures, beside and renamed; `more` stands before the rows."""
    figures = {
        "device": device_name(), "versions": versions(), **more, "rows": rows, "targets": targets,
    }  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    part.replace(file)


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        found = re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def _quoted(pattern: str, file: Path) -> str | None:
    found = re.search(pattern, file.read_text(encoding="utf-8")) if file.is_file() else None
    return found[1] if found else None
