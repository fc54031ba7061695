"""The table of a batch: CSV (comma, semicolon or tab) or JSON Lines, as rows that know their line.

All errors are TableError with the file, the line and the column in them.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DELIMITERS = (",", ";", "\t")
CSV_KINDS, JSON_KINDS = (".csv", ".tsv"), (".jsonl", ".ndjson")


class TableError(ValueError):
    """What is wrong with the user's table, settings or workflow, and where."""


@dataclass(frozen=True)
class Row:
    """`number` counts rows from 1, `line` is where the row begins in the file."""

    number: int
    line: int
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"row {self.number} (line {self.line})"


def read_table(path: Path) -> list[Row]:
    """-> the rows that hold something. An empty cell of a CSV is left out of its row."""
    kind = path.suffix.lower()
    if kind not in CSV_KINDS + JSON_KINDS:
        allowed = ", ".join(CSV_KINDS + JSON_KINDS)
        raise TableError(f"{path.name}: a table is one of {allowed}; rename or convert it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name} is not UTF-8 ({error.reason}): save it as UTF-8") from None
    rows = _csv_rows(path.name, text) if kind in CSV_KINDS else _json_rows(path.name, text)
    if not rows:
        raise TableError(f"{path.name} holds no rows")
    return rows


def _csv_rows(name: str, text: str) -> list[Row]:
    head = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] = []
    rows: list[Row] = []
    line = 1
    try:
        for cells in reader:
            if not columns:
                columns = _columns(name, cells)
            elif any(cell.strip() for cell in cells):
                if len(cells) > len(columns):
                    raise TableError(
                        f"{name}, line {line}: {len(cells)} cells under {len(columns)} columns; "
                        'put text that holds a comma into "quotes"'
                    )
                values = {c: v for c, v in zip(columns, cells, strict=False) if v.strip()}
                rows.append(Row(len(rows) + 1, line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{name}, line {reader.line_num}: {error}") from None
    return rows


def _columns(name: str, cells: list[str]) -> list[str]:
    columns = [cell.strip() for cell in cells]
    for place, column in enumerate(columns, 1):
        if not column:
            raise TableError(f"{name}: column {place} has no name in the first line")
        if columns.count(column) > 1:
            raise TableError(f"{name}: column {column!r} is there twice; map one to several inputs")
    return columns


def _json_rows(name: str, text: str) -> list[Row]:
    rows: list[Row] = []
    for line, words in enumerate(text.split("\n"), 1):  # a prompt may hold other line breaks
        if not words.strip():
            continue
        try:
            values = json.loads(words)
        except ValueError as error:
            raise TableError(f"{name}, line {line}: no JSON: {error}") from None
        if not isinstance(values, dict):
            raise TableError(f'{name}, line {line}: a row is an object such as {{"id": "a"}}')
        rows.append(Row(len(rows) + 1, line, {k: v for k, v in values.items() if v is not None}))
    return rows
