"""A request becomes one frozen value: grids, cubes, ratios and what they cost.

Source: paper sections 3.2 and 3.3; DESIGN sections 2 to 4. Units are in the names: _px pixels and
frames, _lat VAE latents, _tok DiT tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from .attention.layout import CubeLayout
from .attention.mask import REACHES, align, check_reach, pair_count
from .rope import ALIGNMENTS, Axes, proxy_axes
from .units import PX_MULTIPLE, VAE_STRIDE, Grid, lat_from_px, tok_from_lat

__all__ = ["ALIGNMENTS", "REACHES", "VideoPlan", "make_plan"]

WAN_SIZES = {"1.3B": (1536, 30), "14B": (5120, 40)}  # width and layers
CUBE_TOK = Grid(4, 8, 8)
GIB = 2**30


@dataclass(frozen=True)
class VideoPlan:
    """What to make and how: the target, its proxy, and who sees whom. See `make_plan`."""

    width_px: int
    height_px: int
    frames_px: int
    fps: float
    r_t: float
    proxy_width_px: int
    proxy_height_px: int
    proxy_frames_px: int
    cube_tok: Grid
    reach: str
    alignment: str

    @property
    def target_lat(self) -> Grid:
        return lat_from_px(self.frames_px, self.height_px, self.width_px)

    @property
    def target_tok(self) -> Grid:
        return tok_from_lat(self.target_lat)

    @property
    def proxy_lat(self) -> Grid:
        return lat_from_px(self.proxy_frames_px, self.proxy_height_px, self.proxy_width_px)

    @property
    def proxy_tok(self) -> Grid:
        return tok_from_lat(self.proxy_lat)

    @property
    def layout(self) -> CubeLayout:
        return CubeLayout(self.target_tok, self.cube_tok)

    def proxy_axes(self) -> Axes:
        """Coordinates of a proxy made by stage 1 to this plan: its time scale is r_t."""
        return proxy_axes(self.proxy_tok, self.target_tok, self.alignment, self.r_t)

    def attention_ratio(self) -> float:
        """How many times fewer attention FLOPs than full attention, the guide being kept."""
        pairs = pair_count(self.layout, self.reach, align(self.layout, self.proxy_axes()))
        return self.target_tok.count**2 / pairs

    def guide_gib(self, width: int, layers: int, bytes_per_value: int = 2) -> float:
        """Size of the keys and values of every layer for this plan's proxy."""
        return 2 * layers * self.proxy_tok.count * width * bytes_per_value / GIB

    def summary(self) -> str:
        """A few lines for a person: sizes, tokens, cost."""
        guides = ", ".join(
            f"{self.guide_gib(*size):.1f} GiB ({name})" for name, size in WAN_SIZES.items()
        )
        target, proxy, cubes = self.target_tok, self.proxy_tok, self.layout.n_cubes
        return (
            f"Target {self.width_px} x {self.height_px} px, {self.frames_px} frames "
            f"({self.frames_px / self.fps:.1f} s at {self.fps:g} fps): "
            f"{target.count:,} tokens ({target}).\n"
            f"Proxy {self.proxy_width_px} x {self.proxy_height_px} px, "
            f"{self.proxy_frames_px} frames, r_t {self.r_t:g}: "
            f"{proxy.count:,} tokens ({proxy}), aligned by {self.alignment}.\n"
            f"{cubes.count:,} cubes ({cubes}) of {self.cube_tok} tokens, reach {self.reach}: "
            f"{self.attention_ratio():,.1f} times fewer attention FLOPs than full attention.\n"
            f"Guide in bfloat16: {guides}."
        )


def make_plan(
    *,
    width_px: int,
    height_px: int,
    frames_px: int,
    fps: float = 16.0,
    r_t: float = 4,
    proxy_height_px: int = 480,
    cube_tok: Grid = CUBE_TOK,
    reach: str = "faces",
    alignment: str = "ratio",
) -> VideoPlan:
    """Check a request and complete it.

    The proxy has 1 + (frames - 1) / r_t frames, rounded to 4k + 1, and the target's aspect with
    its width snapped to 16 px. Raises ValueError naming the value, the limit and the way out.
    """
    lat_from_px(frames_px, height_px, width_px)  # raises for what Wan2.1 can't encode
    if fps <= 0:
        raise ValueError(f"fps {fps:g} is no frame rate: it must be above 0.")
    if r_t < 1:
        raise ValueError(
            f"r_t {r_t:g} would give the proxy more frames than the target: it must be at least "
            "1 (1 keeps every frame, 4 is the paper's)."
        )
    if len(cube_tok) != 3 or min(cube_tok) < 1:
        raise ValueError(
            f"cube {tuple(cube_tok)} (t, h, w tokens) is empty: every side must be at least 1."
        )
    check_reach(reach)
    if alignment not in ALIGNMENTS:
        raise ValueError(
            f"alignment {alignment!r} is unknown: choose one of {', '.join(ALIGNMENTS)}."
        )
    proxy_frames_px = frames_of_proxy(frames_px, r_t)
    proxy_width_px = _snap(width_px * proxy_height_px / height_px)
    if proxy_height_px > height_px or proxy_width_px > width_px:
        raise ValueError(
            f"the proxy of {proxy_width_px} x {proxy_height_px} px is larger than the target of "
            f"{width_px} x {height_px} px: set proxy_height to at most {height_px}."
        )
    lat_from_px(proxy_frames_px, proxy_height_px, proxy_width_px)
    return VideoPlan(
        width_px=width_px,
        height_px=height_px,
        frames_px=frames_px,
        fps=fps,
        r_t=r_t,
        proxy_width_px=proxy_width_px,
        proxy_height_px=proxy_height_px,
        proxy_frames_px=proxy_frames_px,
        cube_tok=Grid(*cube_tok),
        reach=reach,
        alignment=alignment,
    )


def frames_of_proxy(frames_px: int, r_t: float) -> int:
    """1 + (frames - 1) / r_t, rounded to 4k + 1."""
    return 1 + VAE_STRIDE.t * int((frames_px - 1) // VAE_STRIDE.t / r_t + 0.5)


def _snap(side_px: float) -> int:
    return max(PX_MULTIPLE, PX_MULTIPLE * int(side_px / PX_MULTIPLE + 0.5))
