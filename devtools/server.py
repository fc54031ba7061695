"""A headless ComfyUI of our own: a free loopback port and folders that nobody else uses."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from atlasvid_batch.client import Client

from .steps import end

FOLDERS = ("custom_nodes", "input", "models", "output", "temp", "user")


class ServerFailed(RuntimeError):
    """The server ended, or did not answer in time; the text ends with its last lines."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_folder(link: Path, target: Path) -> None:
    """A link to a folder; a junction on Windows, where links need rights that few users have."""
    if os.name == "nt":
        command = ["cmd", "/c", "mklink", "/J", str(link), str(target)]
        subprocess.run(command, check=True, capture_output=True)
    else:
        link.symlink_to(target, target_is_directory=True)


def link_pack(pack: Path, custom_nodes: Path, name: str = "atlasvid") -> None:
    """Makes the pack a custom node; nothing to do where it already is one."""
    link = custom_nodes / name
    if link.exists() or pack.parent.resolve() == custom_nodes.resolve():
        return
    custom_nodes.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()  # leads nowhere
    link_folder(link, pack)


def make_base(base: Path, pack: Path) -> None:
    """ComfyUI's data folders below `base`, with the pack as the only custom node."""
    for name in FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    link_pack(pack, base / "custom_nodes")


class Server:
    """ComfyUI from `host`, run by `python`, with its data in `base` (see `make_base`).

    CPU only. A context manager: the process ends with the block. `client` talks to it.
    """

    def __init__(self, host: Path, python: Path, base: Path, log: Path, options: tuple = ()):
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.base, self.log = base, log
        self.output = base / "output"
        self.client = Client(self.base_url)
        self._command = [
            *(str(python), "-u", str(host / "main.py"), "--cpu", "--disable-auto-launch"),
            *("--listen", "127.0.0.1", "--port", str(self.port), "--disable-api-nodes"),
            *("--base-directory", str(base), *options),
            *("--database-url", "sqlite:///" + (base / "user" / "comfyui.db").as_posix()),
        ]
        self._process: subprocess.Popen | None = None

    def start(self, timeout_s: float = 240) -> None:
        """Returns when the server answers. Raises ServerFailed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self.base, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise ServerFailed(f"ComfyUI ended at its start. {self.last_lines()}")
            try:
                self.client.get("/system_stats")
                return
            except OSError:
                time.sleep(0.25)
        raise ServerFailed(f"ComfyUI did not answer in {timeout_s:g} s. {self.last_lines()}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def kill(self) -> None:
        """At once, as a power cut would."""
        assert self._process is not None, "the server was not started"
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            end(self._process)

    def last_lines(self, count: int = 15) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return f"Its last lines ({self.log}):\n" + "\n".join(lines)

    def queue(self, workflow: dict, on_event=None) -> dict:
        """`Client.queue`; where the connection breaks, the error shows the server's last lines."""
        try:
            return self.client.queue(workflow, on_event)
        except OSError as error:
            raise ServerFailed(f"the job was lost ({error}). {self.last_lines()}") from error

    def forget(self) -> None:
        """Its cache and models are let go of before the next job begins: the host looks at that
        wish after each job, so a small one comes in between."""
        self.client.read("/free", b'{"unload_models": true, "free_memory": true}')
        small = {"width": 16, "height": 16, "batch_size": 1}
        made = {"class_type": "EmptyLatentImage", "inputs": small}
        shown = {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}
        self.queue({"1": made, "2": shown})

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def object_info(host: Path, pack: Path) -> dict[str, dict]:
    """/object_info of a server of our own, with the pack: what each node takes and gives."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_base(base, pack)
        with Server(host, Path(sys.executable), base, base / "server.log") as server:
            return server.client.get("/object_info")
