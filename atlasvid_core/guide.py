"""The guide: a proxy's keys and values of every layer, computed once for all denoising steps.

The proxy attends to itself alone, reads no text and stays clean (timestep 0), so nothing about it
changes from step to step: keeping keys and values is exact. Source: paper section 3.3 (masks M_gg
and M_gd, text for detail tokens only); DESIGN section 4.

Shapes: B batch, G proxy tokens, N heads, H head size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .rope import Axes, rotations
from .units import Grid, tok_from_lat
from .wan import calls
from .wan.calls import Cast, plain_cast
from .wan.dit import attend_full

Progress = Callable[[int, int], None]
RunLayer = Callable[[int, Callable[[Any], Any], Any], Any]  # layer, its work, input -> output


def run_plainly(number: int, work: Callable[[Any], Any], x: Any) -> Any:
    """Does a layer's work at once. Training puts gradient checkpointing and adapters here."""
    return work(x)


@dataclass(frozen=True, eq=False)
class Guide:
    """Keys (already rotated) and values of each layer, [B, G, N, H], and where their tokens sit."""

    axes: Axes
    target_tok: Grid
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def proxy_tok(self) -> Grid:
        return self.axes.grid

    @property
    def layers(self) -> int:
        return len(self.keys)

    @property
    def heads(self) -> int:
        return self.keys[0].shape[2]

    @property
    def bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in (*self.keys, *self.values))

    def layer(self, number: int, like: Tensor, tok: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Proxy tokens `tok` (first, one past the last) of a layer: keys and values.

        On `like`'s device and in its dtype; nothing but these tokens is moved.
        """
        part = slice(*tok)
        return self.keys[number][:, part].to(like), self.values[number][:, part].to(like)


def make_guide(
    model: nn.Module,
    proxy: Tensor,
    axes: Axes,
    target_tok: Grid,
    *,
    cast: Cast = plain_cast,
    progress: Progress | None = None,
    keep: Callable[[Tensor], Tensor] | None = None,
    run_layer: RunLayer = run_plainly,
    chunk_tok: int | None = None,
) -> Guide:
    """Read the proxy latent [B, C_in, t, h, w] (model space) once -> Guide, in host memory.

    `model` carries the proxy LoRA. `progress(done, total)` is called once a layer and may raise to
    cancel. `keep` says what becomes of each K and V, by default a move to host memory; training
    leaves them where they are. `run_layer` wraps each layer's work. `chunk_tok`: how many tokens
    are worked on at once (None: all); keys and values are always those of all.
    Raises ValueError for a proxy that holds NaN or whose grid is not that of `axes`.
    """
    if not torch.isfinite(proxy).all():
        raise ValueError(
            "The proxy latent holds values that are not finite (NaN or infinity). Look at the "
            "node that made it: fp16 overflow is the usual cause, bf16 or fp32 the remedy."
        )
    padded = calls.pad_to_patch(proxy)
    if tok_from_lat(Grid(*proxy.shape[2:])) != axes.grid:
        raise ValueError(
            f"The proxy has {tok_from_lat(Grid(*proxy.shape[2:]))} tokens, its coordinates are for "
            f"{axes.grid}. Make them with proxy_axes for this proxy."
        )
    keep = keep or to_host()
    x = calls.embed_patches(model, padded)
    time = calls.embed_time(model, torch.zeros(len(x), device=x.device), x.dtype)
    rotation = rotations(axes).to(x.device)
    kept: list[tuple[Tensor, Tensor]] = []
    for number, block in enumerate(model.blocks):
        last = number == len(model.blocks) - 1
        work = partial(
            _block, block, time=time, rotation=rotation, cast=cast, last=last, chunk_tok=chunk_tok
        )
        x, keys, values = run_layer(number, work, x)
        kept.append((keep(keys), keep(values)))
        if progress is not None:
            progress(number + 1, len(model.blocks))
    return Guide(axes, target_tok, tuple(k for k, _ in kept), tuple(v for _, v in kept))


def to_host(dtype: torch.dtype | None = None) -> Callable[[Tensor], Tensor]:
    """What becomes of each K and V: a copy in host memory, in `dtype` (None: as computed)."""
    return lambda part: part.to("cpu", dtype or part.dtype)


def _block(block, x: Tensor, time, rotation: Tensor, cast: Cast, last: bool, chunk_tok: int | None):
    """One block for proxy tokens; of the last one only keys and values are ever used."""
    shift1, scale1, gate1, shift2, scale2, gate2 = calls.modulation(block, time, x, cast)
    attn, size = block.self_attn, chunk_tok or x.shape[1]
    parts = list(zip(x.split(size, dim=1), rotation.split(size), strict=True))

    def seen(part: Tensor) -> Tensor:
        return calls.modulated(block.norm1(part), shift1, scale1)

    keys, values = _joined([calls.keys_values(attn, seen(part), turn) for part, turn in parts])
    if last:
        return x, keys, values

    def through(part: Tensor, turn: Tensor) -> Tensor:
        y = attn.o(attend_full(calls.queries(attn, seen(part), turn), keys, values))
        part = torch.addcmul(part, y, gate1)
        y = block.ffn(calls.modulated(block.norm2(part), shift2, scale2))
        return torch.addcmul(part, y, gate2)

    return _cat([through(part, turn) for part, turn in parts]), keys, values


def _joined(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return _cat([k for k, _ in pairs]), _cat([v for _, v in pairs])


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
