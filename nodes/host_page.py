"""What the page may be shown of this machine: files through /view, and memory that was used.

Beside host.py the only file that touches ComfyUI's internals.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread
from typing import Any

import comfy.model_management as management
import folder_paths
import psutil
import torch

FOLDERS = ("output", "temp", "input")
EVERY_S = 0.05


def view_of(path: Path) -> dict[str, str] | None:
    """How the page asks /view for a file; None where it lies outside of ComfyUI's folders, or has
    two dots in its name: the host refuses such names."""
    if ".." in path.name:
        return None
    where = os.path.abspath(path)
    for kind in FOLDERS:
        folder = os.path.abspath(folder_paths.get_directory_by_type(kind))
        if os.path.normcase(where).startswith(os.path.normcase(folder) + os.sep):
            subfolder, filename = os.path.split(os.path.relpath(where, folder))
            return {"filename": filename, "subfolder": subfolder.replace("\\", "/"), "type": kind}
    return None


class PeakMemory:
    """The most memory in use while a block runs: `bytes` of the `of` ("device" or "process").

    On a GPU, what torch holds there. Elsewhere the process, looked at every EVERY_S seconds.
    """

    def __init__(self) -> None:
        device = management.get_torch_device()
        counts = getattr(torch, device.type, None)
        known = device.type != "cpu" and hasattr(counts, "max_memory_allocated")
        self.of = "device" if known else "process"
        self.bytes = 0
        self._device, self._counts = device, counts
        self._over = Event()

    def __enter__(self) -> PeakMemory:
        if self.of == "device":
            self._counts.reset_peak_memory_stats(self._device)
        else:
            self._process = psutil.Process()
            self._look()
            self._watch = Thread(target=self._keep_looking, daemon=True)
            self._watch.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.of == "device":
            self.bytes = self._counts.max_memory_allocated(self._device)
        else:
            self._over.set()
            self._watch.join()
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, self._process.memory_info().rss)

    def _keep_looking(self) -> None:
        while not self._over.wait(EVERY_S):
            self._look()
