"""Rows of a bench that takes long, kept while it runs: one that was cut off goes on from them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atlasvid_core.record import ROOT, device_name, versions

Kept = Callable[[str, Callable[[], list[dict]]], list[dict]]


@contextmanager
def rows_kept(bench: str, quick: bool) -> Iterator[tuple[Path, Kept]]:
    """-> a working folder, and a function that gives the rows of a name: those kept there, or else
    measured now. Rows of other code, versions or machines are never taken; the end removes all.
    """
    folder = Path(tempfile.gettempdir()) / f"atlasvid_{bench}_{_stamp()}{'_quick' * quick}"
    folder.mkdir(exist_ok=True)

    def kept(name: str, measure: Callable[[], list[dict]]) -> list[dict]:
        file = folder / f"{name}.rows.json"
        if not file.exists():
            part = file.with_suffix(".part")
            part.write_text(json.dumps(measure()), encoding="utf-8")
            part.replace(file)
        return json.loads(file.read_text(encoding="utf-8"))

    yield folder, kept
    shutil.rmtree(folder, ignore_errors=True)


def _stamp() -> str:
    digest = hashlib.sha256(json.dumps([device_name(), versions()]).encode())
    for file in sorted([*(ROOT / "atlasvid_core").rglob("*.py"), *(ROOT / "bench").glob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
