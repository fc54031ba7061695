"""What a server sends, what the disk keeps: connections that break oddly, files cut short."""

import errno
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from atlasvid_batch.client import Client
from atlasvid_batch.files import fetch, place_of
from atlasvid_batch.jobs import tag_of

from .rough_server import RoughServer, jobs_of
from .test_batch_found import MP4


@contextmanager
def raw_server(answer: bytes):
    """-> the address of a server that says this to whatever it is asked, and hangs up."""

    class Raw:
        def __init__(self, port):
            self.url = f"http://127.0.0.1:{port}"

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    asker, _ = listener.accept()
                except OSError:
                    return
                with asker, suppress(OSError):  # who asked may be gone
                    asker.recv(4096)
                    asker.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield Raw(listener.getsockname()[1])
        with suppress(OSError):  # macOS and Windows: it is not connected
            listener.shutdown(socket.SHUT_RDWR)


CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a": '


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9\r\n", CUT, b""])
def test_an_answer_that_is_no_http_leaves_the_others_alone(batch, events, capsys, answer):
    with raw_server(answer) as odd, RoughServer() as sound:
        with pytest.raises(ConnectionError):
            Client(odd.url).get("/object_info")
        assert batch(["t0", "t1"], [odd, sound]) == 0
        assert sorted(sound.posts) == ["t0", "t1"]
    assert f"{odd.url} does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("error", [
    ssl.SSLError(1, "[SSL: RECORD_LAYER_FAILURE] record layer failure"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
    OSError(errno.ENETUNREACH, "Network is unreachable"),
], ids=lambda error: str(error.errno))  # fmt: skip
def test_a_route_that_is_gone_in_an_answer_is_the_servers(batch, monkeypatch, capsys, error):
    """Only what this machine's disk says ends a batch."""
    receive = socket.SocketIO.readinto
    left = [3]

    def readinto(self, buffer):
        if left[0] and self._sock.getpeername()[1] == bad.port:
            left[0] -= 1
            raise error
        return receive(self, buffer)

    with RoughServer() as bad, RoughServer() as sound:
        monkeypatch.setattr(socket.SocketIO, "readinto", readinto)
        assert batch([f"t{i}" for i in range(9)], [bad, sound]) == 0
    assert not left[0] and f"{bad.url} does not answer" in capsys.readouterr().out


def test_a_disk_that_takes_no_results_ends_the_batch(batch, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "files").write_text("a file where the folder should be")
    with RoughServer() as server:
        assert batch(["t0"], [server]) == 1
    assert "atlasvid_batch: stopped: " in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the list of files by itself")
def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_after(tmp_path, monkeypatch):
    """After a power cut the manifest must not know of a file that is empty."""
    steps, sync, replace = [], os.fsync, Path.replace

    def note_sync(handle):
        steps.append(os.fstat(handle).st_ino)
        sync(handle)

    def note_replace(self, target):
        steps.append("named")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    with RoughServer() as server:
        server.saved["", "a.txt"] = b"words"
        file = {"filename": "a.txt", "subfolder": "", "type": "output"}
        Client(server.url).save(file, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"words"
    assert steps == [(tmp_path / "a.txt").stat().st_ino, "named", tmp_path.stat().st_ino]


@pytest.mark.parametrize(("there", "asked"), [(b"", 1), (MP4[:-1], 1), (MP4, 0)])
def test_what_lies_here_cut_short_is_fetched_once_more(tmp_path, there, asked):
    (job,) = jobs_of("t0")
    tag, views = tag_of(job.key, "b"), []
    file = {"filename": f"film_{tag}_00001_.mp4", "subfolder": "", "type": "output"}
    target = tmp_path / place_of(file, job.key, tag)
    target.parent.mkdir()
    target.write_bytes(there)
    with RoughServer(lambda method, path, query, _: views.append(path)) as server:
        server.saved["", file["filename"]] = MP4
        assert fetch(Client(server.url), [file], job.key, "b", tmp_path)
    assert target.read_bytes() == MP4 and len(views) == asked
