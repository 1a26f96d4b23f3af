"""A page's title is text wherever the theme writes it, also above a printed page."""

from __future__ import annotations

from html import escape
from typing import Any

from sphinx.application import Sphinx


def _escape_title(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Escape what the theme's layout writes as HTML."""
    if "pagetitle" in context:
        context["pagetitle"] = escape(context["pagetitle"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Come after the theme, which sets the title."""
    app.connect("html-page-context", _escape_title, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
