"""Prompts for AtlasVid-Tiny: each known word is one fixed vector of umt5's size.

The vectors live in a file so that any program can read them; `make_words` wrote it.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from ..tensor_file import save_whole
from .scenery import COLOURS, DIRECTIONS, SCHEMES, SHAPES

FILES = Path(__file__).parent / "files"
WORDS_FILE = FILES / "text_encoders" / "atlasvid_tiny_words.safetensors"
TEXT_SIZE = 4096
TEXT_TOKENS = 8
CLOSEUP = "closeup"
VIEWS = ("full", CLOSEUP)
VOCABULARY = (*COLOURS, *SHAPES, *DIRECTIONS, *SCHEMES, CLOSEUP)
FILLERS = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "over",
        "under",
        "with",
        "at",
        "in",
        "to",
        "crosses",
        "crossing",
        "moves",
        "sky",
        "and",
    ]
)


def make_words(path: Path = WORDS_FILE, seed: int = 0) -> None:
    """Write the vocabulary: one random direction of length 8 for every word."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(len(VOCABULARY), TEXT_SIZE, generator=generator)
    vectors = 8 * vectors / vectors.norm(dim=1, keepdim=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_whole({"vectors": vectors.to(torch.bfloat16)}, path, {"words": json.dumps(VOCABULARY)})


@functools.lru_cache
def _load(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        words = json.loads(file.metadata()["words"])
        return dict(zip(words, file.get_tensor("vectors").float(), strict=True))


def encode_prompt(text: str, view: str = "full", path: Path = WORDS_FILE) -> Tensor:
    """A prompt -> conditioning [1, 8, 4096], zeros after the last word; empty text is all zeros.

    `view` "closeup" says that a part of a larger picture is wanted: what stage 2 does.
    Raises ValueError naming the words that the tiny world does not know.
    """
    known = _load(path)
    words = [word for word in re.findall(r"[a-z]+", text.lower()) if word not in FILLERS]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(
            f"The tiny world does not know {', '.join(map(repr, unknown))}. It knows: "
            f"{', '.join(w for w in known if w != CLOSEUP)}. "
            'Write for example "a red ball crosses right under a dusk sky".'
        )
    if view not in VIEWS:
        raise ValueError(f"view {view!r} is unknown: choose one of {', '.join(VIEWS)}.")
    if words and view == CLOSEUP:
        words.append(CLOSEUP)
    if len(words) > TEXT_TOKENS:
        raise ValueError(
            f"The prompt has {len(words)} words that count; {TEXT_TOKENS} fit. Shorten it."
        )
    out = torch.zeros(1, TEXT_TOKENS, TEXT_SIZE)
    for i, word in enumerate(words):
        out[0, i] = known[word]
    return out
