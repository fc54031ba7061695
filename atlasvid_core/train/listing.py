"""What a cache is made of: its videos in the order in which they came, and the clips of each shard.

`cache.json` keeps it. Videos that come later are a block of their own behind the others, with
shards of their own: clips keep their numbers, and a shard that is there is never made again. The
last videos are held out of training (`Clips`), so none that was trained on is ever held out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..beside import beside
from .config import Config
from .sources import Source


@dataclass(frozen=True)
class Row:
    """A video of the cache; `caption` is a hash, `length` counts frames at the training rate.

    Without a name it was taken away before a clip of it was made; its place stays empty. Without a
    mark it went, or was changed, when some were made: those stay, and no more are made of it.
    """

    name: str
    caption: str
    mark: str
    length: int


@dataclass(frozen=True)
class Listing:
    """`blocks`: how many of the rows came together. None for both: made before lists were kept."""

    fingerprint: str
    rows: tuple[Row, ...] | None = None
    blocks: tuple[int, ...] | None = None

    def shards(self, passes: int, size: int) -> list[list[tuple[int, int]]]:
        """By shard the clips that belong into it: (number of the clip, number of its row)."""
        out: list[list[tuple[int, int]]] = []
        row = number = 0
        for videos in self.blocks or ():
            clips = [(number + i, row + i % videos) for i in range(videos * passes)]
            out += [clips[i : i + size] for i in range(0, len(clips), size)]
            row, number = row + videos, number + videos * passes
        return out

    def videos(self) -> list[int]:
        """By row the number of its video: that of the first row of the same name."""
        first: dict[str, int] = {}
        return [first.setdefault(row.name, at) for at, row in enumerate(self.rows or ())]


@dataclass(frozen=True)
class Made:
    """Rows that clips have been made of, and rows of which some are still to be made."""

    cached: set[int]
    unfinished: set[int]


def fingerprint(config: Config) -> str:
    """What the cache's contents depend on; of files their names, of the VAE also its size.

    Which videos they are the list says (`Row`), so that their folder may be moved.
    """
    placeless = {"videos": "", "text_model": "", "text": Path(config.data.text).name}
    return _fingerprint(config, placeless)


def marks_of(config: Config) -> tuple[str, str]:
    """The fingerprint as it is made now, and as earlier versions made it: with all places."""
    return fingerprint(config), _fingerprint(config, {})


def _fingerprint(config: Config, other: dict[str, str]) -> str:
    told = dataclasses.asdict(config.data) | {"stage": config.stage, "seed": config.seed} | other
    vae = Path(config.base.vae)
    told |= {"vae": vae.name, "vae_bytes": vae.stat().st_size if vae.is_file() else 0}
    told |= {"cache": "", "held_out": 0, "text_tokens": 0}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def read(folder: Path) -> Listing | None:
    path = folder / "cache.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text("utf-8"))
    if "videos" not in told:
        return Listing(told["fingerprint"])
    rows = tuple(Row(**row) for row in told["videos"])
    return Listing(told["fingerprint"], rows, tuple(told["blocks"]))


def write(folder: Path, listing: Listing) -> None:
    """Beside, then renamed. ValueError where another run wrote something else meanwhile."""
    path = folder / "cache.json"
    part = beside(path)
    rows = [dataclasses.asdict(row) for row in listing.rows or ()]
    told = {"fingerprint": listing.fingerprint, "blocks": listing.blocks, "videos": rows}
    part.write_text(json.dumps(told), "utf-8")
    part.replace(path)
    if read(folder) != listing:
        raise ValueError(
            f"Another `cache` run works on {folder} with other videos or settings. Let it end "
            "first."
        )


def grown(
    listing: Listing, sources: Sequence[Source], made: Callable[[], Made], folder: Path
) -> tuple[Listing, dict[int, Source], list[str]]:
    """The listing with the videos that are new, by row the video that is there now, and what to
    say of those that are left out from now on.

    ValueError where a video is gone or was changed of which all clips are made. One that still
    lacks some may be one that can't be read: the cache goes on without them.
    """
    free: dict[tuple[str, str, str], list[Source]] = defaultdict(list)
    for source in sources:
        free[_key(source)].append(source)
    rows, found = list(listing.rows or ()), {}
    for at, row in enumerate(rows):
        same = free.get((row.name, row.caption, row.mark))
        if same:
            found[at] = same.pop(0)
    lost, left_out = [at for at, row in enumerate(rows) if row.mark and at not in found], []
    if lost:
        done = made()
        few = len(lost) <= len(found)  # of more, the folder may be another one
        halves = {rows[at].name for at in lost if few and at in done.unfinished}
        kept = [at for at in lost if at in done.cached]
        _check_lost([rows[at] for at in kept if rows[at].name not in halves], sources, folder)
        for at in lost:
            rows[at] = dataclasses.replace(rows[at], mark="") if at in kept else Row("", "", "", 0)
        left_out = [
            f"{name} is gone or was changed. Its clips of before stay, no more are made of it as "
            "it was"
            for name in sorted({rows[at].name for at in kept})
        ]
    taken = {id(source) for source in found.values()}
    new = [source for source in sources if id(source) not in taken]
    found |= {len(rows) + i: source for i, source in enumerate(new)}
    rows += [Row(*_key(source), source.length) for source in new]
    blocks = (*(listing.blocks or ()), *([len(new)] if new else []))
    return Listing(listing.fingerprint, tuple(rows), blocks), found, left_out


def _key(source: Source) -> tuple[str, str, str]:
    return source.name, hashlib.sha256(source.caption.encode()).hexdigest()[:16], source.mark


def _check_lost(lost: list[Row], sources: Sequence[Source], folder: Path) -> None:
    if not lost:
        return
    now = {source.name: source for source in sources}.get(lost[0].name)
    what = "is gone" if now is None else "was changed"
    if now is not None and now.mark == lost[0].mark:
        what = "has another caption"
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    raise ValueError(
        f"The cache {folder} holds clips of {lost[0].name}, which {what}{more}. Restore it as it "
        "was, or set data.cache to another folder. New videos may be added at any time."
    )
