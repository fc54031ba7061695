"""A table of prompts of the tiny world, as CSV: `python -m atlasvid_core.tiny.make_prompts 40`.

For batches (`python -m atlasvid_batch`), with `--map prompt=...` for the prompt's nodes.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import random
import sys

from .scenery import COLOURS, DIRECTIONS, SCHEMES, SHAPES


def prompts(count: int, seed: int = 0) -> list[str]:
    """`count` prompts, as different as can be: none comes again before all have been there."""
    every = [
        f"{'an' if colour[0] == 'o' else 'a'} {colour} {shape} crosses {direction} "
        f"under a {sky} sky"
        for colour, shape, direction, sky in itertools.product(COLOURS, SHAPES, DIRECTIONS, SCHEMES)
    ]
    shuffle = random.Random(seed).shuffle
    out: list[str] = []
    while len(out) < count:
        shuffle(every)
        out += every
    return out[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("id", "prompt", "seed"))
    for number, prompt in enumerate(prompts(args.count, args.seed), 1):
        writer.writerow((f"{number:03}", prompt, args.seed + number))


if __name__ == "__main__":
    main()
