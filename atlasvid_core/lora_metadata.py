"""What a trained LoRA says of itself in its safetensors header, and what a plan does to it.

A LoRA works as far as inference looks like its training: cubes, reach, alignment, r_t and how much
smaller the proxy is. Source: DESIGN section 4. Pure values; nothing here reads a file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .plan import VideoPlan
from .units import Grid

PREFIX = "atlasvid."
ROLES = {
    "stage1": "SemanticProxyGenerator",
    "proxy": "ScaledRoPEAligner",
    "detail": "LocalityPreservingPatch",
}
SLACK = 0.05  # of a range's ends, before a plan counts as outside it


@dataclass(frozen=True)
class LoraFacts:
    """Ranges are (lowest, highest) seen in training; in stage 1 those of stage 2 are left out.

    `role`: which model the LoRA belongs on. `ratio`: target tokens to proxy tokens along h and w.
    `proxy_height_px`, `proxy_width_px`, `proxy_frames`: the sizes of proxies (in stage 1, of what
    it makes). `proxy_timestep`: `zero` is what the guide is made with.
    """

    stage: str
    role: str
    base: str
    r_t: tuple[float, float]
    proxy_height_px: tuple[int, int]
    proxy_width_px: tuple[int, int]
    proxy_frames: tuple[int, int]
    cube: tuple[int, int, int] | None = None
    reach: str | None = None
    alignment: str | None = None
    ratio: tuple[float, float] | None = None
    proxy_timestep: str = "zero"
    steps: int = 0


def to_header(facts: LoraFacts) -> dict[str, str]:
    """-> safetensors metadata: one JSON value a field; what does not apply is left out."""
    values = {name: value for name, value in asdict(facts).items() if value is not None}
    return {"format": "pt"} | {PREFIX + name: json.dumps(v) for name, v in values.items()}


def from_header(header: Mapping[str, str] | None) -> LoraFacts | None:
    """The inverse; None for a LoRA that says nothing of AtlasVid. Unknown fields are ignored.

    Raises ValueError when the header is ours and broken.
    """
    known = LoraFacts.__dataclass_fields__
    mine = {n.removeprefix(PREFIX): v for n, v in (header or {}).items() if n.startswith(PREFIX)}
    if not mine:
        return None
    try:
        values = {name: json.loads(text) for name, text in mine.items() if name in known}
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return LoraFacts(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the LoRA's AtlasVid metadata cannot be read: {error}.") from None


def contradictions(facts: LoraFacts, plan: VideoPlan, role: str) -> list[str]:
    """What of a plan the LoRA was not trained for, as sentences; empty when all fits.

    `role`: on which model it was loaded, a key of ROLES.
    """
    if facts.role != role:
        return [
            f"it is the {facts.role} LoRA and belongs on the model of {ROLES[facts.role]}, not of "
            f"{ROLES[role]}"
        ]
    found = [_outside("r_t", plan.r_t, facts.r_t)]
    if role != "stage1":
        cube = None if facts.cube is None else Grid(*facts.cube)
        found += [
            _other("cube", plan.cube_tok, cube),
            _other("reach", plan.reach, facts.reach),
            _other("alignment", plan.alignment, facts.alignment),
        ]
        target, proxy = plan.target_tok, plan.proxy_tok
        for axis in ("h", "w"):
            ratio = getattr(target, axis) / getattr(proxy, axis)
            found.append(_outside(f"target / proxy along {axis}", ratio, facts.ratio))
        if facts.proxy_timestep != "zero":
            found.append(
                f"it was trained with the proxy at timestep {facts.proxy_timestep!r}, the guide is "
                "made at zero"
            )
    found += [
        _outside("proxy height (px)", plan.proxy_height_px, facts.proxy_height_px),
        _outside("proxy width (px)", plan.proxy_width_px, facts.proxy_width_px),
        _outside("proxy frames", plan.proxy_frames_px, facts.proxy_frames),
    ]
    return [sentence for sentence in found if sentence]


def _other(name: str, value, trained) -> str | None:
    if trained is None or value == trained:
        return None
    return f"{name} is {value}, it was trained with {trained}"


def _outside(name: str, value: float, trained: tuple[float, float] | None) -> str | None:
    if trained is None or trained[0] * (1 - SLACK) <= value <= trained[1] * (1 + SLACK):
        return None
    low, high = trained
    known = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"{name} is {value:g}, it was trained with {known}"
