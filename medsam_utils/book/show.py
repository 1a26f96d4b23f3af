"""What a page shows: sentences, boxes, tables and figures that show themselves; all HTML is made
here.

Each function returns a `Shown`: the last line of a cell shows it, `display(a, b)` shows several,
`a + b` is one after the other. Texts are plain, with marks of Markdown: **bold**, `code` and
[a link](https://example.org), and line breaks; all else in them is shown as it is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from .. import plots

LEVELS = {"demo": "demo", "measured": "measured on your data", "published": "published"}
"""Levels of truth in the words of a page."""
FOLDED = 12  # lines from which on a table is closed until it is clicked
LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)\s]+|[\w./-]*#[\w-]+|[\w./-]+\.html)\)")
COUNTS = ("cases", "patients", "objects")  # columns of whole numbers


@dataclass(frozen=True)
class Shown:
    """Part of a page.

    html: what a notebook or a page shows of it.
    """

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __add__(self, other: Shown) -> Shown:
        return Shown(self.html + other.html)


NOTHING = Shown("")


@dataclass(frozen=True)
class Table(Shown):
    """A table on a page. frame: the numbers behind it, to go on with."""

    frame: pd.DataFrame


@dataclass(frozen=True)
class Figure(Shown):
    """A figure on a page, as SVG with its caption. drawing: matplotlib's figure, to go on with."""

    drawing: Drawing


def marked(text: str) -> str:
    """Return a text with its three marks as HTML.

    A link leads to another page of the book, to a place of this one or to a whole address.

    >>> marked("**0.5** of `a<b`")
    '<strong>0.5</strong> of <code>a&lt;b</code>'
    >>> marked("[PET](pet.html)")
    '<a href="pet.html">PET</a>'
    """
    text = escape(text, quote=False)
    text = re.sub(
        r"\[([^\]]+)\]\((https?://[^)\s]+|[\w./-]*#[\w-]+|[\w./-]+\.html)\)",
        r'<a href="\2">\1</a>',
        text,
    )
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text).replace("\n", "<br>")
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)


def answer(*sentences: str | tuple[str, Sequence[str]]) -> Shown:
    """Return the answer at the top of a page, of one or several sentences without full stops.

    A pair is a sentence and what it holds for, such as its level and number of tasks: in brackets
    behind it, but what all of several sentences hold for is told once, at the end.

    >>> re.sub("<.*?>", "", answer(("A", ["demo", "1 task"]), ("B", ["demo", "2 tasks"])).html)
    'A (1 task). B (2 tasks). All: demo.'
    """
    pairs = [(one, ()) if isinstance(one, str) else one for one in sentences]
    first = pairs[0][1] if len(pairs) > 1 else ()
    shared = [scope for scope in first if all(scope in scopes for _, scopes in pairs)]
    texts = []
    for text, scopes in pairs:
        own = "; ".join(scope for scope in scopes if scope and scope not in shared)
        texts.append(f"{text} ({own})" if own else text)
    texts += [f"All: {'; '.join(shared)}"] if shared else []
    return Shown(f'<p class="medsam-answer">{marked(". ".join(texts))}.</p>')


def paragraphs(*texts: str) -> Shown:
    """Return each text as a paragraph."""
    return Shown("".join(f"<p>{marked(text)}</p>" for text in texts))


def heading(text: str) -> Shown:
    """Return the title of a part that not every page has; the page's own ones are Markdown."""
    return Shown(f"<h2>{marked(text)}</h2>")


def bullets(texts: Iterable[str]) -> Shown:
    """Return the texts as a list."""
    return Shown("<ul>" + "".join(f"<li>{marked(text)}</li>" for text in texts) + "</ul>")


def banner(*sentences: str, demo: bool = False) -> Shown:
    """Return one small paragraph above the answer: what the numbers must not be taken for.

    demo: whether they come from phantoms.
    """
    kind = "medsam-banner medsam-demo" if demo else "medsam-banner"
    return Shown(f'<p class="{kind}">{marked(" ".join(sentences))}</p>')


def box(kind: str, title: str, text: str) -> Shown:
    """Return an admonition of the theme. kind: note, warning or attention."""
    title = f'<p class="admonition-title">{marked(title)}</p>'
    return Shown(f'<div class="admonition {kind}">{title}<p>{marked(text)}</p></div>')


def joined(parts: Iterable[Shown]) -> Shown:
    """Return parts of a page one after the other."""
    return Shown("".join(part.html for part in parts))


def details(title: str, content: Shown | str) -> Shown:
    """Return what is closed until it is clicked; a str is shown as preformatted text."""
    inner = content.html if isinstance(content, Shown) else f"<pre>{escape(content)}</pre>"
    return Shown(f"<details><summary>{marked(title)}</summary>{inner}</details>")


def code(text: str) -> Shown:
    """Return lines to copy into a terminal."""
    return Shown(f'<pre class="medsam-command">{escape(text)}</pre>')


def number(value: float, digits: int) -> str:
    """Return a number as a table shows it; what rounds to nothing has no sign.

    >>> number(0.125, 2), number(-0.0001, 3)
    ('0.12', '0.000')
    """
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def table(frame: pd.DataFrame, digits: int = 3, fold: bool = True, kind: str = "") -> Table:
    """Return a table that sorts by a click on a heading and scrolls where the screen is narrow.

    digits: after the point. fold: whether one of more than FOLDED lines is closed at first. kind:
    further CSS classes, "medsam-words" where cells hold sentences. Texts in cells may have marks; a
    cell may be a `Shown`.
    """
    formatters: dict[str, Callable] = {
        name: "{:.0f}".format for name in COUNTS if name in frame and frame[name].dtype != object
    }
    for name in frame.columns:
        if pd.api.types.is_string_dtype(frame[name]) or frame[name].dtype == object:
            formatters.setdefault(name, _cell)
    text = frame.to_html(
        index=False,
        border=0,
        na_rep="",
        float_format=lambda value: number(value, digits),
        formatters=formatters,
        classes="table",
        escape=False,
    )
    attributes = f'class="medsam-table {kind}" role="group" aria-label="table" tabindex="0"'
    text = f'<div {attributes} style="overflow-x:auto">{text}</div>'
    if fold and len(frame) > FOLDED:
        text = f"<details><summary>{len(frame)} lines</summary>{text}</details>"
    return Table(text, frame)


def _cell(cell: object) -> object:
    """Return what a cell shows: a text with its marks as HTML."""
    if isinstance(cell, Shown):
        return cell.html
    return marked(cell) if isinstance(cell, str) else cell


def facts(lines: Mapping[str, Shown | str]) -> Shown:
    """Return names and facts as a table of two columns; an empty fact is left out."""
    cells = {
        name: fact.html if isinstance(fact, Shown) else marked(fact) for name, fact in lines.items()
    }
    rows = "".join(
        f"<tr><th>{escape(n)}</th><td>{cell}</td></tr>" for n, cell in cells.items() if cell
    )
    return Shown(f'<table class="table medsam-facts"><tbody>{rows}</tbody></table>')


def figure(drawing: Drawing, alt: str, caption: str, width: int = 300) -> Figure:
    """Return a drawing with its caption, `width` CSS pixels wide or as much as there is.

    alt: what a reader who does not see it must know.
    """
    style = f"flex:1 1 {width}px;min-width:0;margin:0;padding:0"
    text = f'<figcaption style="font-size:0.9em">{marked(caption)}</figcaption>'
    picture = plots.svg(drawing, alt)
    html = f'<figure class="medsam-figure" style="{style}">{picture}{text}</figure>'
    return Figure(html, drawing)


def panel(axes: Axes, title: str, kind: str, finding: str, width: int = 300) -> Figure:
    """Return a plot with its title, and with what it shows in its caption.

    kind: such as "Line plot of IoU against clicks", for a reader who does not see it.
    """
    drawing = axes.figure
    axes.set_title(fill(title, round(12 * drawing.get_figwidth())), loc="left", fontsize=10)
    return figure(drawing, f"{kind}, {title}: {finding}.", f"**{title}.** {finding}.", width)


def panels(
    frame: pd.DataFrame,
    by: Sequence[str],
    kind: str,
    draw: Callable[[Axes, pd.DataFrame], str],
    size: tuple[float, float] = (3.6, 3.2),
    width: int = 300,
    most: int = 6,
) -> Shown:
    """Return a panel for each group of a table, such as each model and level, side by side.

    by: columns that tell the groups apart, and that the title names. draw: (axes, lines of the
    group) -> what the panel shows, in words. size: of each drawing, in inches. most: panels that
    stand in sight; more are closed until they are clicked.
    """
    shown: list[Shown] = []
    for key, group_frame in frame.groupby(list(by), sort=False):
        _, axes = plots.new_figure(*size)
        finding = draw(axes, group_frame)
        title = " · ".join(LEVELS.get(part, str(part)) for part in key)
        shown.append(panel(axes, title, kind, finding, width))
    return some(shown, most, "figures")


def row(figures: Iterable[Shown]) -> Shown:
    """Return figures side by side, below each other where the screen is narrow."""
    style = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:1rem 1.5rem;margin:1rem 0"
    return Shown(f'<div class="medsam-row" style="{style}">{joined(figures).html}</div>')


def some(parts: Sequence[Shown], most: int, what: str) -> Shown:
    """Return the first parts in a row, and all others in a row that is closed until it is clicked.

    most: so many stand in sight. what: the others are, in the plural, such as "figures".
    """
    first, others = parts[:most], parts[most:]
    if len(others) < 2:  # not worth a click
        return row(parts)
    return row(first) + details(f"{len(others)} more {what}", row(others))


def folded(parts: Sequence[Shown], most: int, what: str) -> Shown:
    """Return the first parts one after the other, the others closed until they are clicked.

    most, what: as for `some`.
    """
    first, others = parts[:most], parts[most:]
    if not others:
        return joined(first)
    return joined(first) + details(f"{len(others)} more {what}", joined(others))


def pictures(title: str, figures: Iterable[Shown]) -> Shown:
    """Return pictures under a title, three in a line on a wide and on a narrow screen."""
    return Shown(
        f'<p class="medsam-group">{marked(title)}</p>'
        f'<div class="medsam-pictures">{joined(figures).html}</div>'
    )


def group(title: str, figures: Iterable[Shown]) -> Shown:
    """Return a row of figures under a title of their own."""
    return Shown(f'<p class="medsam-group">{marked(title)}</p>{row(figures).html}')


def three(figures: Iterable[Shown]) -> Shown:
    """Return small figures in three columns that stay beside each other on a narrow screen too."""
    style = (
        "flex:1 1 270px;max-width:24rem;display:grid;grid-template-columns:repeat(3,1fr);gap:0.4rem"
    )
    return Shown(f'<div style="{style}">{joined(figures).html}</div>')


def downloads(text: str, files: Mapping[str, tuple[str, str, bytes]]) -> Shown:
    """Return links that save files which the page itself holds.

    files: what a link says -> name, media type and content of the file.
    """
    links = [
        f'<a download="{escape(name)}" '
        f'href="data:{kind};base64,{base64.b64encode(content).decode()}">{escape(title)}</a>'
        for title, (name, kind, content) in files.items()
    ]
    return Shown(f"<p>{marked(text)}: {', '.join(links)}.</p>")
