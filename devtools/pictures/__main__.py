"""Write every picture: `python -m devtools.pictures`."""

from __future__ import annotations

from .all import ROOT, drawn


def main() -> None:
    for name, text in drawn().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(name)


if __name__ == "__main__":
    main()
