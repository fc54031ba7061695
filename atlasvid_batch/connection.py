"""What a server sends, told from what this machine does: trouble of a connection, of whatever kind,
is a ConnectionError or a TimeoutError, so that any other OSError is this machine's own.
"""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
from collections.abc import Iterator
from typing import IO

BLOCK = 2**20


@contextlib.contextmanager
def connection() -> Iterator[None]:
    """Around all that a socket takes part in: TLS that breaks, a route that is gone, an answer that
    is no HTTP or ends too early. URLError (and HTTPError) passes as it is.
    """
    try:
        yield
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        raise
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(str(error).strip() or type(error).__name__) from error


def body_of(answer: IO[bytes]) -> bytes:
    with connection():
        return answer.read()


def blocks_of(answer: IO[bytes]) -> Iterator[bytes]:
    while True:
        with connection():
            block = answer.read(BLOCK)
        if not block:
            return
        yield block
