"""Sphinx extension: on a page of the API reference a module shows what it is for, and the names in
it are closed until they are clicked or a link leads to one."""

from __future__ import annotations

from html import escape

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def fold(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put what autodoc wrote of each module's names into a part that opens."""
    if not page.startswith("book/api/") or app.builder.format != "html":
        return
    for section in tree.findall(nodes.section):
        described = [node for node in section.children if isinstance(node, addnodes.desc)]
        if not described:
            continue
        names = [node[0]["ids"][0].rsplit(".", 1)[-1] for node in described if node[0]["ids"]]
        summary = f"<summary>{escape(', '.join(names))}</summary>"
        first, last = section.index(described[0]), section.index(described[-1])
        section.insert(last + 1, nodes.raw("", "</details>", format="html"))
        start = f'<details class="medsam-names">{summary}'
        section.insert(first, nodes.raw("", start, format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Come when all references are resolved."""
    app.connect("doctree-resolved", fold)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
