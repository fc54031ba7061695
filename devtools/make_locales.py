"""Write locales/en/nodeDefs.json from the nodes themselves: `python -m devtools.make_locales`.

ComfyUI's page takes a node's words from locales/<language>/nodeDefs.json. English is what the
schemas say; other languages are written by hand. What they lack is shown here, and held by a test.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .graph_format import specs
from .server import object_info

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
OURS = "AtlasVid"


def english(infos: dict[str, dict]) -> dict[str, dict]:
    """Entries of /object_info -> what nodeDefs.json holds of our nodes, by node id."""
    return {name: _node(info) for name, info in sorted(infos.items()) if name.startswith(OURS)}


def _node(info: dict) -> dict:
    out: dict[str, Any] = {
        "display_name": info["display_name"], "description": info["description"],
        "inputs": {
            name: {"name": name, "tooltip": options["tooltip"]}
            for name, _, options, _ in specs(info)
        },
    }  # fmt: skip
    if info["output"]:
        named = zip(info["output_name"], info["output_tooltips"], strict=True)
        out["outputs"] = {
            str(i): {"name": name, "tooltip": tip} for i, (name, tip) in enumerate(named)
        }
    return out


def leaves(tree: dict, above: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a nodeDefs.json with the way to it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="a ComfyUI folder")
    host = parser.parse_args().host.resolve()
    texts = english(object_info(host, ROOT))
    path = LOCALES / "en" / "nodeDefs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for other in sorted(LOCALES.glob("*/nodeDefs.json")):
        there = dict(leaves(json.loads(other.read_text(encoding="utf-8"))))
        for key in dict(leaves(texts)).keys() ^ there.keys():
            print(f"{other.parent.name}: {'stale' if key in there else 'missing'}: {key}")


if __name__ == "__main__":
    main()
