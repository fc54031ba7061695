"""Fixtures: the host in this process, the pack loaded as the host loads it, a live server.

The root holds a folder `nodes/`, and the host has a module of that name: so the root never lies
on sys.path here, and `atlasvid_core` and its neighbours are loaded from their files.
"""

import _thread
import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load_package(name: str, folder: Path):
    """Imports `folder` as the top-level package `name`; sys.path is not touched."""
    if name not in sys.modules:
        where = {"submodule_search_locations": [str(folder)]}
        spec = importlib.util.spec_from_file_location(name, folder / "__init__.py", **where)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
load_package("atlasvid_core", ROOT / "atlasvid_core")
load_package("atlasvid_batch", ROOT / "atlasvid_batch")
load_package("devtools", ROOT / "devtools")
load_package("bench", ROOT / "bench")


@pytest.fixture(scope="session")
def host_path() -> Path:
    """The ComfyUI under test."""
    if "COMFYUI_PATH" not in os.environ:
        pytest.skip("COMFYUI_PATH is not set: `python dev.py test` brings a ComfyUI and sets it")
    path = Path(os.environ["COMFYUI_PATH"]).resolve()
    assert (path / "main.py").is_file(), f"COMFYUI_PATH={path} holds no ComfyUI (no main.py)"
    return path


@pytest.fixture(scope="session")
def host(host_path, tmp_path_factory) -> Path:
    """Makes `import comfy` work in this process: CPU only, data in a folder of its own."""
    if str(host_path) not in sys.path:
        sys.path.insert(0, str(host_path))
    from comfy.cli_args import args

    from devtools.server import FOLDERS

    base = tmp_path_factory.mktemp("host")
    for name in FOLDERS:
        (base / name).mkdir()
    args.cpu = True
    args.base_directory = str(base)
    return host_path


@pytest.fixture(scope="session")
def pack(host):
    """The root as the package `atlasvid_pack`, its tiny files registered with the host."""
    module = load_package("atlasvid_pack", ROOT)
    from atlasvid_pack.nodes import host as adapter

    adapter.register_tiny_files()
    return module


@pytest.fixture(scope="session")
def server(host_path, tmp_path_factory):
    """A live headless server with the pack: `.base_url`, `.queue(workflow)`, `.output`."""
    from devtools.server import Server, make_base

    base = tmp_path_factory.mktemp("server")
    make_base(base, ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped, too
    with Server(host_path, Path(sys.executable), base, base / "server.log") as running:
        yield running


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """-> run(texts, servers, ...): the batch command with a job for each text -> its exit status.

    `flow` where it is not the usual workflow; `sheets`: contact sheets, too.
    """
    from atlasvid_batch.cli import main

    from .rough_server import workflow

    monkeypatch.chdir(tmp_path)

    def run(
        texts, servers, *more, prefix="film", column="Prompt.text", flow=None, sheets=False
    ) -> int:  # fmt: skip
        (tmp_path / "t.csv").write_text(f"{column}\n" + "\n".join(texts) + "\n", "utf-8")
        (tmp_path / "w.json").write_text(json.dumps(flow or workflow(prefix)))
        named = [word for server in servers for word in ("--server", server.url)]
        command = ["t.csv", "--workflow", "w.json", "--out", "out", *named, *more]
        command += [] if sheets else ["--no-sheet"]
        limit = threading.Timer(60, _thread.interrupt_main)  # a mistake may let it run for ever
        limit.start()
        try:
            return main(command)
        finally:
            limit.cancel()

    return run


@pytest.fixture
def events(tmp_path):
    """-> events(state): what the manifest tells of jobs that came into it."""

    def read(state):
        lines = (tmp_path / "out" / "manifest.jsonl").read_text("utf-8").splitlines()
        return [e for e in map(json.loads, lines) if e.get("state") == state]

    return read
