"""Help pages: complete, in every language, and true: defaults, pictures and messages exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "web" / "docs"
SECTIONS = {
    "en": ["When to use it", "Inputs", "Outputs", "Errors"],
    "zh": ["何时使用", "输入", "输出", "报错"],
}
PAGES = sorted(DOCS.glob("*/*.md"))


def name_of(page: Path) -> str:
    return f"{page.parent.name}-{page.stem}"


@pytest.fixture(scope="module")
def schemas(pack):
    from atlasvid_pack.nodes import NODES

    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in NODES)}


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Every text of the pack's own code; what is filled in at run time is a line break."""
    files = [p for f in ("nodes", "atlasvid_core") for p in (ROOT / f).rglob("*.py")]
    texts = [(ROOT / "web" / "words.js").read_text(encoding="utf-8")]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "\n" for v in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


ROW = re.compile(r"- `(\w+)`(?: \(default (.*?)\)|（默认 (.*?)）)?(?:: |：)(.+)")


def rows_of(text: str) -> dict[str, tuple[str, str]]:
    """Lines like "- `name` (default 3): advice" -> name: (default, advice)."""
    found = map(ROW.fullmatch, text.splitlines())
    return {m[1]: (m[2] or m[3] or "", m[4]) for m in found if m}


def shown(default: object) -> str:
    """A default as the page shows it."""
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_each_node_has_a_page_in_each_language(schemas):
    want = {f"{name}-{language}" for name in schemas for language in SECTIONS}
    assert {name_of(page) for page in PAGES} == want


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_is_complete(page, schemas):
    text, schema = page.read_text(encoding="utf-8"), schemas[page.parent.name]
    assert text.startswith(f"# {schema.display_name}")
    found = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [h for h in found if h in SECTIONS[page.stem]] == SECTIONS[page.stem]
    rows = rows_of(text)
    assert list(rows)[: len(schema.inputs)] == [i.id for i in schema.inputs]
    for given in schema.inputs:
        default = getattr(given, "default", None)
        assert rows[given.id][0] == shown(default), given.id
        assert len(rows[given.id][1]) > 5
    for output in schema.outputs:
        assert f"**{output.display_name}**" in text or f"（{output.display_name}）**" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_a_picture_of_ours(page):
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert pictures
    for picture in pictures:
        assert (DOCS / picture).is_file()  # the page is shown at web/docs, whatever its own folder


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_messages_on_a_page_are_those_that_the_code_says(page, said):
    errors = page.read_text(encoding="utf-8").split(f"## {SECTIONS[page.stem][-1]}")[1]
    lines = [re.split(r": |：", line)[0] for line in errors.splitlines()]
    messages = [m for line in lines for m in re.findall(r"\*([^*]+)\*", line)]
    assert messages
    for message in messages:
        parts = [p.strip(" ,") for p in re.split(r"\.\.\.|\b\d+\b", message)]
        for part in filter(None, parts):
            assert any(part in text for text in said), f"nobody says {part!r}"
