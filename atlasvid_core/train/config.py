"""What a training run is told: one TOML file becomes one frozen value.

Defaults are the paper's (appendix B.1). Paths count from the folder that the command runs in.
Units are in the names of `DataConfig`'s docstring: frames, and pixels at the training size.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ..attention import BACKENDS
from ..attention.mask import check_reach
from ..rope import ALIGNMENTS
from ..units import Grid, lat_from_px

STAGES = ("stage1", "guide", "refine")
PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "no": "float32"}
ONE_OF = {
    "stage": STAGES,
    "base.dtype": tuple(PRECISIONS.values()),
    "attention.alignment": ALIGNMENTS,
    "attention.backend": BACKENDS,
    "train.precision": tuple(PRECISIONS),
}
AT_LEAST = {
    1: (
        "data.proxies", "data.passes", "data.group", "data.shard", "data.text_tokens",
        "train.steps", "train.batch", "train.accumulate", "train.rank", "train.alpha",
        "train.bad_steps", "log.sample_steps",
    ),
    0: (
        "data.held_out", "train.lr", "train.weight_decay", "train.warmup", "train.cooldown",
        "train.clip", "log.line", "log.save", "log.validate", "log.sample", "log.sample_count",
    ),
}  # fmt: skip
ABOVE_0 = ("data.fps", "train.shift")


@dataclass(frozen=True)
class BaseConfig:
    """The frozen model: Wan2.1 T2V and VAE files; `refine` also wants the LoRAs of `guide`."""

    file: str = ""
    vae: str = ""
    name: str = "Wan2.1-T2V-1.3B"  # for the metadata of what is saved
    dtype: str = "bfloat16"
    proxy_lora: str = ""
    detail_lora: str = ""


@dataclass(frozen=True)
class DataConfig:
    """Videos and how clips are cut from them; sizes in pixels and frames of the detail clip.

    `proxy_height` and `render_height` are ranges (low, high), `r_t` a list to choose from. With
    `crops` the clip is a crop, in place and time, of a picture `render_height` high, and the
    proxy shows all of that picture in `proxy_frames` frames (0: as many as the clip has).
    """

    videos: str = ""  # a folder (captions in .txt files beside) or a JSONL of video and caption
    cache: str = "cache"
    fps: float = 16.0
    frames: int = 81
    height: int = 720
    width: int = 1280
    r_t: tuple[int, ...] = (4,)
    proxy_height: tuple[int, ...] = (160, 480)
    proxies: int = 2  # of other sizes, for each clip
    crops: bool = False
    render_height: tuple[int, ...] = ()
    proxy_frames: int = 0
    passes: int = 1  # clips cut from each video
    group: int = 1  # clips in a row with one geometry, so that they can share a batch
    shard: int = 16  # clips in a file
    held_out: int = 16  # videos, the last ones, that are never trained on
    text: str = "umt5"  # umt5, words (of the tiny model), or a safetensors file: caption -> [L, C]
    text_model: str = ""  # the folder of umt5-xxl as transformers reads it
    text_tokens: int = 512
    suffix: str = ""  # goes behind every caption

    @property
    def lat(self) -> Grid:
        return lat_from_px(self.frames, self.height, self.width)


@dataclass(frozen=True)
class AttentionConfig:
    """Stage 2's local attention; see plan.make_plan."""

    cube: tuple[int, ...] = (4, 8, 8)
    reach: str = "faces"
    alignment: str = "ratio"
    backend: str = "auto"

    @property
    def cube_tok(self) -> Grid:
        return Grid(*self.cube)


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation; `steps` are optimiser steps of batch x accumulate clips on every process."""

    steps: int = 15000
    batch: int = 1
    accumulate: int = 4
    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.95)
    weight_decay: float = 0.01
    warmup: int = 100
    cooldown: int = 0  # last steps, over which the rate falls to nothing
    clip: float = 1.0  # largest gradient norm; 0: any
    rank: int = 16
    alpha: int = 16
    shift: float = 5.0  # of the noise levels, as sampling has it
    empty_prompt_share: float = 0.0
    ema: float = 0.999  # 0: none
    precision: str = "bf16"
    checkpointing: bool = True
    cpu: bool = False
    bad_steps: int = 10  # steps in a row without finite gradients that end the run


@dataclass(frozen=True)
class LogConfig:
    """How often, in steps; 0 is never."""

    line: int = 10
    save: int = 250
    validate: int = 250
    sample: int = 1000
    sample_count: int = 2
    sample_steps: int = 30
    sample_cfg: float = 5.0  # stage 1 alone; stage 2 has no guidance
    tensorboard: bool = True


@dataclass(frozen=True)
class Config:
    stage: str
    out: str = "out"
    seed: int = 0
    base: BaseConfig = field(default_factory=BaseConfig)
    data: DataConfig = field(default_factory=DataConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    log: LogConfig = field(default_factory=LogConfig)


def load(path: Path, changes: list[str] | tuple[str, ...] = ()) -> Config:
    """Read a TOML file, apply `key=value` changes, check. Raises ValueError naming the setting."""
    values = _toml(path.read_text(encoding="utf-8"), str(path))
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"{change!r} changes nothing: write KEY=VALUE.")
        *sections, name = key.strip().split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ValueError(f"{change!r} changes nothing: {section} is no table of settings.")
        table[name] = _toml(f"x = {value}", change)["x"]
    return from_values(values)


def from_values(values: dict[str, Any]) -> Config:
    config = _build(Config, values, "")
    _check(config)
    return config


def _toml(text: str, where: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where} is no TOML: {error}.") from None


def _build(kind: type, values: dict[str, Any], at: str) -> Any:
    """A dataclass from a table; every key must be known and of the field's type."""
    hints, known = get_type_hints(kind), [f.name for f in dataclasses.fields(kind)]
    unknown = [key for key in values if key not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        where = f"[{at.rstrip('.')}]" if at else "a run"
        raise ValueError(
            f"setting {at}{unknown[0]} is unknown: {meant}{where} has {', '.join(known)}."
        )
    if kind is Config and "stage" not in values:
        raise ValueError(f"setting stage is missing: one of {', '.join(STAGES)}.")
    return kind(**{key: _value(hints[key], value, at + key) for key, value in values.items()})


def _value(hint: Any, value: Any, at: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return _build(hint, value, f"{at}.")  # type: ignore[arg-type]
    elif get_origin(hint) is tuple:
        if isinstance(value, list):
            return tuple(_value(get_args(hint)[0], v, at) for v in value)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    raise ValueError(f"setting {at} is {value!r}: it must be {_says(hint)}.")


def _says(hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return "a table"
    return "a list" if get_origin(hint) is tuple else f"of type {hint.__name__}"


def _check(config: Config) -> None:
    data, train, attention = config.data, config.train, config.attention

    def must(good: bool, name: str, limit: str) -> None:
        if not good:
            value = attrgetter(name)(config)
            raise ValueError(f"setting {name} is {value!r}: it must be {limit}.")

    for name, choices in ONE_OF.items():
        must(attrgetter(name)(config) in choices, name, f"one of {', '.join(choices)}")
    _ = data.lat  # frames and sizes that fit the VAE and the patches
    for least, names in AT_LEAST.items():
        for name in names:
            must(attrgetter(name)(config) >= least, name, f"at least {least}")
    for name in ABOVE_0:
        must(attrgetter(name)(config) > 0, name, "above 0")
    must(min(data.r_t, default=0) >= 1, "data.r_t", "a list of numbers from 1 on")
    if config.stage == "stage1":
        must(len(data.r_t) == 1, "data.r_t", "one number: a stage-1 LoRA has one r_t")
    for name in ("proxy_height", "render_height"):
        sides = getattr(data, name)
        good = len(sides) == 2 and 16 <= sides[0] <= sides[1]
        needed = name == "proxy_height" or data.crops
        must(good or (not needed and not sides), f"data.{name}", "[low, high], 16 at least")
    if data.crops:
        low = data.render_height[0]
        must(low >= data.height, "data.render_height", f"at least the height {data.height}")
    if data.proxy_frames:
        lat_from_px(data.proxy_frames, data.height, data.width)
    good = len(train.betas) == 2 and all(0 <= beta < 1 for beta in train.betas)
    must(good, "train.betas", "two numbers from 0 to below 1")
    must(0 <= train.ema < 1, "train.ema", "from 0 to below 1")
    must(0 <= train.empty_prompt_share <= 1, "train.empty_prompt_share", "from 0 to 1")
    good = len(attention.cube) == 3 and min(attention.cube) >= 1
    must(good, "attention.cube", "[t, h, w] tokens, 1 at least")
    check_reach(attention.reach)
    if config.stage == "refine":
        for name in ("base.proxy_lora", "base.detail_lora"):
            must(bool(attrgetter(name)(config)), name, "a LoRA that stage guide saved")
        good = train.precision != "no" or config.base.dtype == "float32"
        must(
            good, "train.precision", f"bf16 or fp16 for refine with base.dtype {config.base.dtype}"
        )
