"""The protocol as a table: every field, what it means, and where the presets differ."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping
from html import escape
from itertools import pairwise

from IPython.display import HTML

from ...clicks import Protocol
from .page import scrolling


def table(presets: Mapping[str, Protocol]) -> HTML:
    """Every field of `Protocol`, what it means, and its value in each preset; differences stand
    out."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(Protocol))).body
    meanings = {
        field.target.id: note.value.value
        for field, note in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr)
    }
    lines = []
    for field in dataclasses.fields(Protocol):
        values = [str(getattr(preset, field.name)) for preset in presets.values()]
        differs = len(set(values)) > 1
        cells = "".join(f"<td><code>{escape(v)}</code></td>" for v in values)
        mark = ' class="medsam-differs"' if differs else ""
        meaning = escape(" ".join(meanings[field.name].split()))
        lines.append(f"<tr{mark}><th><code>{field.name}</code></th>{cells}<td>{meaning}</td></tr>")
    head = "".join(f"<th>{escape(name)}</th>" for name in ("field", *presets, "meaning"))
    body = f"<tbody>{''.join(lines)}</tbody>"
    text = f'<table class="table"><thead><tr>{head}</tr></thead>{body}</table>'
    return scrolling(text, "medsam-words")
