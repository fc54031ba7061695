"""Captions become what cross-attention reads: [L, 4096], no padding.

umt5 runs through transformers where the user has it; a safetensors file of ready embeddings or
the tiny model's words need nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from .config import DataConfig

Encode = Callable[[str], Tensor]


def text_encoder(data: DataConfig, device: torch.device) -> Encode:
    if data.text == "words":
        return _words
    if data.text == "umt5":
        return _umt5(data.text_model, data.text_tokens, device)
    if data.text.endswith(".safetensors") and Path(data.text).is_file():
        return _from_file(Path(data.text))
    raise ValueError(
        f"setting data.text is {data.text!r}: it must be umt5, words (the tiny model's), or a "
        "safetensors file that maps captions to embeddings [L, 4096]."
    )


def _words(caption: str) -> Tensor:
    from ..tiny.words import encode_prompt

    text = encode_prompt(caption)[0]
    return text[: max(1, int(text.any(dim=1).sum()))]


def _from_file(path: Path) -> Encode:
    def encode(caption: str) -> Tensor:
        with safe_open(path, "pt") as file:
            if caption not in file.keys():  # noqa: SIM118  # a file, no dict
                raise ValueError(
                    f"{path} has no embedding of {caption!r}: its keys must be the captions, and "
                    "the empty one for prompts left out."
                )
            return file.get_tensor(caption).flatten(0, -2)

    return encode


def _umt5(folder: str, tokens: int, device: torch.device) -> Encode:
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"setting data.text_model is {folder!r}: it must be the folder of umt5-xxl in the form "
            "of transformers (config.json, weights, tokenizer)."
        )
    try:
        from transformers import AutoTokenizer, UMT5EncoderModel
    except ImportError:
        raise ValueError(
            "setting data.text is 'umt5', which needs transformers: pip install transformers, or "
            "give a safetensors file of embeddings."
        ) from None
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = UMT5EncoderModel.from_pretrained(
        folder, local_files_only=True, torch_dtype=torch.bfloat16
    )
    model = model.to(device).eval()

    @torch.no_grad()
    def encode(caption: str) -> Tensor:
        given = tokenizer(caption, truncation=True, max_length=tokens, return_tensors="pt")
        return model(**given.to(device)).last_hidden_state[0].float().cpu()

    return encode
