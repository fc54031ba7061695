"""What a layer keeps while it streams over slabs: the hidden state, and a ring of K and V.

Source: DESIGN section 4, "Memory is bounded by slabs".

Shapes: B batch, S tokens of a part of a slab, L tokens of the ring, G proxy tokens, N heads,
H head size, C width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
Start = Callable[[Tensor], Callable[[], Tensor]]  # begins a move to the device; call for its result


def beside(device: torch.device) -> Start:
    """Moves from pinned memory to a CUDA device on a stream of their own, beside what computes."""
    side = torch.cuda.Stream(device)

    def start(source: Tensor) -> Callable[[], Tensor]:
        computing = torch.cuda.current_stream(device)
        side.wait_stream(computing)  # the last write to `source` was queued there
        with torch.cuda.stream(side):
            there = source.to(device, non_blocking=True)

        def finish() -> Tensor:
            now = torch.cuda.current_stream(device)
            now.wait_stream(side)
            there.record_stream(now)  # its memory is not side's to reuse before `now` is done
            return there

        return finish

    return start


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype, pin: bool) -> Tensor:
    """Host memory, with `pin` pinned where the system allows that much: a container or another
    program may not leave it. From other memory moves are right, but wait for each other."""
    if pin:
        try:
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        except RuntimeError as error:
            _say_not_pinned(str(error).splitlines()[0])
    return torch.empty(shape, dtype=dtype)


@cache
def _say_not_pinned(reason: str) -> None:
    logging.warning("AtlasVid: the hidden state is not in pinned memory, and slower (%s)", reason)


class Hidden:
    """The hidden state [B, S, C] of every part of every slab, on the device or in host memory.

    From host memory, pinned with `pin`, the part after the one that is read is moved ahead of time,
    by `start` (on CUDA `beside`).

    With `tokens`, that many have their place in one buffer, made once, and are overwritten there;
    without, parts are replaced one by one, as autograd needs it. On a CPU the buffer matters: freed
    parts leave holes that the allocator does not fill again, the more the longer the video.
    """

    def __init__(
        self,
        device: torch.device,
        on_host: bool,
        tokens: int | None = None,
        start: Start | None = None,
        pin: bool = True,
    ) -> None:
        self.device = device
        self.on_host = on_host
        self.tokens = tokens
        self.pin = pin
        self.slabs: list[list[Tensor]] = []
        self._start = start
        if start is None and on_host and device.type == "cuda":
            self._start = beside(device)
        self._ahead: dict[tuple[int, int], Callable[[], Tensor]] = {}
        self._buffer: Tensor | None = None
        self._taken = 0

    def append(self, parts: Iterable[Tensor]) -> None:
        self.slabs.append([self._kept(part) for part in parts])

    def read(self, slab: int, part: int) -> Tensor:
        if self._start is None:
            return self.slabs[slab][part].to(self.device, non_blocking=True)
        finish = self._ahead.pop((slab, part), None) or self._start(self.slabs[slab][part])
        self._ahead.clear()  # room for one part, not for those that were never asked for
        if part + 1 < len(self.slabs[slab]):
            self._ahead[slab, part + 1] = self._start(self.slabs[slab][part + 1])
        return finish()

    def write(self, slab: int, part: int, x: Tensor) -> None:
        self._ahead.pop((slab, part), None)  # what was moved is out of date
        if self._buffer is not None:
            self.slabs[slab][part].copy_(x, non_blocking=True)
        else:
            self.slabs[slab][part] = x

    def after(
        self, work: Callable[[Hidden], None], slabs: list[list[Tensor]]
    ) -> list[list[Tensor]]:
        """`slabs` after `work`, which happens on a copy of the lists: they stay as they are."""
        copy = Hidden(self.device, on_host=False)
        copy.slabs = [list(parts) for parts in slabs]
        work(copy)
        return copy.slabs

    def _kept(self, part: Tensor) -> Tensor:
        if self.tokens is None:
            return part
        if self._buffer is None:
            b, _, c = part.shape
            shape = (b, self.tokens, c)
            if self.on_host:
                pin = self.pin and part.device.type == "cuda"
                self._buffer = host_buffer(shape, part.dtype, pin)
            else:
                self._buffer = part.new_empty(shape)
        begin, self._taken = self._taken, self._taken + part.shape[1]
        return self._buffer[:, begin : self._taken].copy_(part)


class Ring:
    """K and V of up to three slabs in a row, and the guide's behind them, in two buffers.

    The buffers are made once and serve every slab and layer: what `with_guide` returns is
    overwritten by the next `append`, so autograd needs a `CatRing`.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: list[tuple[int, int]] = []  # number and tokens of each slab
        self._buffers: Pair | None = None

    def __contains__(self, slab: int) -> bool:
        return any(number == slab for number, _ in self.held)

    def drop_before(self, slab: int) -> None:
        """Let go of the slabs before this one; the others move to the front."""
        while self.held and self.held[0][0] < slab:
            _, gone = self.held.pop(0)
            at = 0
            for _, size in self.held:  # no slab is longer than one before it: no overlap
                for buffer in self._buffers or ():
                    buffer[:, at : at + size] = buffer[:, at + gone : at + gone + size]
                at += size

    def close(self) -> None:
        """Give the buffers back."""
        self.held, self._buffers = [], None

    def append(self, slab: int, parts: Iterable[Pair]) -> None:
        """Take the keys and values [B, S, N, H] of a slab, part by part."""
        at = first = sum(size for _, size in self.held)
        for pair in parts:
            at = self._put(at, pair)
        self.held.append((slab, at - first))

    def with_guide(self, guide_kv: Pair | None) -> Pair:
        """-> keys and values [B, L (+ G), N, H], valid until the next `append`."""
        end = sum(size for _, size in self.held)
        if guide_kv is not None:
            end = self._put(end, guide_kv)
        assert self._buffers is not None
        k, v = self._buffers
        return k[:, :end], v[:, :end]

    def _put(self, at: int, pair: Pair) -> int:
        if self._buffers is None:
            b, _, n, h = pair[0].shape
            k, v = (part.new_empty(b, self.capacity, n, h) for part in pair)
            self._buffers = (k, v)
        end = at + pair[0].shape[1]
        for buffer, part in zip(self._buffers, pair, strict=True):
            buffer[:, at:end] = part
        return end


class CatRing(Ring):
    """The same by concatenation: differentiable, at twice the memory."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self._slabs: dict[int, list[Pair]] = {}

    def drop_before(self, slab: int) -> None:
        self.held = [(number, size) for number, size in self.held if number >= slab]
        self._slabs = {number: self._slabs[number] for number, _ in self.held}

    def close(self) -> None:
        self.held, self._slabs = [], {}

    def append(self, slab: int, parts: Iterable[Pair]) -> None:
        self._slabs[slab] = list(parts)
        self.held.append((slab, sum(k.shape[1] for k, _ in self._slabs[slab])))

    def with_guide(self, guide_kv: Pair | None) -> Pair:
        pairs = [pair for number, _ in self.held for pair in self._slabs[number]]
        if guide_kv is not None:
            batch = len(pairs[0][0])
            k, v = (x.expand(batch, -1, -1, -1) for x in guide_kv)
            pairs.append((k, v))
        return torch.cat([k for k, _ in pairs], dim=1), torch.cat([v for _, v in pairs], dim=1)
