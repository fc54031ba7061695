"""The rows of the table: each a frozen value that says how a video comes about.

A row of stage 2 is the full method but for the fields it sets. `proxy` says which proxy a way is
given: `truth`, the world's own render at base size, `stage1`, what stage 1 makes, or none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

PAPER_CFG, BASE_CFG = 1.0, 3.0


@dataclass(frozen=True)
class Stage2:
    """`guided`: the detail branch sees the guide. `scaled_rope`: the proxy's coordinates are in
    units of detail tokens; without, it counts its own. `flat_windows`: the detail tokens' windows
    are runs of the flattened sequence, not cubes. `denoise` below 1: from the enlarged proxy."""

    proxy: str = "truth"
    guided: bool = True
    loras: tuple[str, ...] = ("proxy", "detail")
    reach: str = "faces"
    alignment: str = "ratio"
    scaled_rope: bool = True
    flat_windows: bool = False
    cfg: float = PAPER_CFG
    denoise: float = 1.0


@dataclass(frozen=True)
class FullAttention:
    """The base model at the target's size, as it is: no proxy, no LoRA, no cubes."""

    proxy: ClassVar[str] = ""
    loras: ClassVar[tuple[str, ...]] = ()
    cfg: float = BASE_CFG


@dataclass(frozen=True)
class Enlarged:
    """The proxy's frames, enlarged: bicubic in space, motion followed in time."""

    proxy: str = "truth"
    loras: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class Truth:
    """The world's own render through the VAE: the best that these judges can see."""

    proxy: ClassVar[str] = ""
    loras: ClassVar[tuple[str, ...]] = ()


Way: TypeAlias = Stage2 | FullAttention | Enlarged | Truth


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    way: Way


ROWS = (
    Row("full", "full method", Stage2()),
    Row("full_start", "full, from the enlarged proxy", Stage2(denoise=0.5)),
    Row("no_proxy", "no proxy", Stage2(guided=False)),
    Row("unscaled", "proxy RoPE unscaled", Stage2(scaled_rope=False)),
    Row("flat", "windows of the flat sequence", Stage2(flat_windows=True)),
    Row("own", "reach own", Stage2(reach="own")),
    Row("plane", "reach plane", Stage2(reach="plane")),
    Row("all", "reach all", Stage2(reach="all")),
    Row("endpoints", "alignment endpoints", Stage2(alignment="endpoints")),
    Row("cfg", "cfg 3", Stage2(cfg=BASE_CFG)),
    Row("no_lora", "no LoRA, from noise", Stage2(loras=())),
    Row("no_lora_start", "no LoRA, from the enlarged proxy", Stage2(loras=(), denoise=0.35)),
    Row("detail_lora", "detail LoRA only", Stage2(loras=("detail",))),
    Row("bicubic", "proxy enlarged, bicubic", Enlarged()),
    Row("full_attention", "full attention, base alone", FullAttention()),
    Row("truth", "truth through the VAE", Truth()),
    Row("full_stage1", "full method, proxy by stage 1", Stage2(proxy="stage1")),
)


def chosen(names: str | None, rows: tuple[Row, ...] = ROWS) -> tuple[Row, ...]:
    """Rows by their names, separated by commas, in the table's order; None means all of them."""
    if names is None:
        return rows
    wanted, known = set(names.split(",")), {row.name for row in rows}
    if wanted - known:
        raise ValueError(
            f"rows {', '.join(sorted(wanted - known))} are unknown: choose among "
            f"{', '.join(row.name for row in rows)}."
        )
    return tuple(row for row in rows if row.name in wanted)
