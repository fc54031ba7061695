"""Just enough of a WebSocket client (RFC 6455) to follow a ComfyUI server."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
import urllib.parse

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class WebSocket:
    """One open connection to `url` (http or https).

    Raises OSError (of which TimeoutError is one) where the connection fails or stays silent for
    `timeout_s`.
    """

    def __init__(self, url: str, timeout_s: float):
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._socket = socket.create_connection((host, port), timeout=timeout_s)
        if parts.scheme == "https":
            self._socket = ssl.create_default_context().wrap_socket(
                self._socket, server_hostname=host
            )
        self._stream = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = self._stream.readline().decode(errors="replace").strip()
        if " 101 " not in f"{status} ":
            self.close()
            raise ConnectionError(f"no websocket at {url}: {status or 'no answer'}")
        while self._stream.readline().strip():
            pass

    def texts(self):
        """Yields each text message until the server closes; skips binary ones, answers pings."""
        return (data.decode() for kind, data in self.messages() if kind == TEXT)

    def messages(self):
        """Yields (kind, bytes) of each message until the server closes; answers pings."""
        kind, parts = 0, []
        while True:
            final, code, data = self._frame()
            if code == CLOSE:
                return
            if code == PING:
                self._send(PONG, data)
            elif code < CLOSE:  # data: a first frame names the kind, continuations say 0
                kind = code or kind
                parts.append(data)
                if final:
                    yield kind, b"".join(parts)
                    parts = []

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _frame(self) -> tuple[bool, int, bytes]:
        head = self._read(2)
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._read(8))
        return bool(head[0] & 0x80), head[0] & 0x0F, self._read(size)

    def _read(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) < count:
            raise ConnectionError("the server closed the websocket in the middle of a message")
        return data

    def _send(self, code: int, data: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | code, 0x80 | len(data)]) + mask + masked)
