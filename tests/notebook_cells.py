"""A notebook's cells, executed in this process: for tests of what a page computes and says."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any
from unittest import mock

import jupytext

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run_cells(notebook: str, until: str = "", **parameters: Any) -> tuple[dict[str, Any], str]:
    """Execute a notebook with parameters: its names afterwards, and the text of all that it showed.

    until: of the first cell that has this in it, which is the last that is executed; empty: of
    none.
    """
    first, *others = _code_cells(notebook)
    names: dict[str, Any] = {}
    exec(first, names)
    assert parameters.keys() <= names.keys()
    names |= parameters
    texts = []
    for source in others:
        texts.append(_execute(source, names))
        if until and until in source:
            break
    return names, " ".join(texts)


def run_cell(notebook: str, having: str, names: dict[str, Any]) -> str:
    """Execute the one cell that has `having` in it, with these names; the text of what it
    showed."""
    (source,) = (source for source in _code_cells(notebook) if having in source)
    return _execute(source, names)


def _code_cells(notebook: str) -> list[str]:
    cells = [
        cell
        for cell in jupytext.read(NOTEBOOKS / f"{notebook}.py").cells
        if cell.cell_type == "code"
    ]
    assert cells[0].metadata["tags"] == ["parameters"]
    return [cell.source for cell in cells]


def _execute(source: str, names: dict[str, Any]) -> str:
    """As a kernel does: the value of a last expression is shown."""
    tree, shown = ast.parse(source), []
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    display = lambda *values: shown.extend(values)  # noqa: E731
    with mock.patch("IPython.display.display", display):
        if "display" in names:
            names["display"] = display
        exec(compile(tree, "cell", "exec"), names)
        shown += [eval(compile(ast.Expression(last.value), "cell", "eval"), names)] if last else []
    return " ".join(re.sub("<.*?>", " ", value.data) for value in shown if hasattr(value, "data"))
