"""Write workflows/ in both formats, and subgraphs/: `python -m devtools.make_workflows --host DIR`.

Types, order and defaults of every node's inputs come from the real host's /object_info.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .blueprints import all_blueprints, blueprint_format
from .graph_format import api_format, save_format
from .graphs import all_graphs
from .server import object_info

ROOT = Path(__file__).resolve().parent.parent


def rendered(infos: dict[str, dict]) -> dict[str, str]:
    """Path below the root -> the file's text, for every shipped workflow and blueprint."""
    files = {}
    for graph in all_graphs():
        files[f"workflows/{graph.name}.json"] = save_format(graph, infos)
        files[f"workflows/api/{graph.name}.json"] = api_format(graph, infos)
    for blueprint in all_blueprints():
        files[f"subgraphs/{blueprint.name}.json"] = blueprint_format(blueprint, infos)
    return {name: json.dumps(content, indent=1) + "\n" for name, content in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="a ComfyUI folder")
    host = parser.parse_args().host.resolve()
    files = rendered(object_info(host, ROOT))
    for name, text in files.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
