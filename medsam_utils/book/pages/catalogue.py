"""The tables of all datasets and models, and the datasets' passports, for the pages that list
them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ...case import BadCaseError, BadInputError, CaseReference
from ...datasets import DATASETS, Dataset, MissingDatasetError
from ...datasets.fetch import how_fetched
from ...datasets.sources import PACKAGES
from ...demo import load_dataset
from ...models import MODELS, ModelEntry, adapter
from ...models.checkpoints import PackagedCheckpoint
from ...models.hub import HubCheckpoint
from ...models.mirrored import MirroredCheckpoint
from .. import show
from ..show import Shown
from .passport import passport

MODALITIES = ("MRI", "X-ray", "Ultrasound", "CT", "PET")
"""In the order of the study's Table 1."""


@dataclass(frozen=True)
class Count:
    """What of a dataset is there now. objects: None if its masks were not read; error: why nothing
    is."""

    level: str
    images: int = 0
    patients: int = 0
    objects: int | None = None
    error: str = ""


def names_of(text: str) -> list[str]:
    """Return the names in a text, or for "all" every name, by modality, the study's own first.

    Raises BadInputError for an unknown name, when it is loaded.
    """
    if text != "all":
        return text.split()
    order = {modality: place for place, modality in enumerate(MODALITIES)}
    return sorted(
        DATASETS,
        key=lambda name: (
            order[DATASETS[name].modality],
            DATASETS[name].passport.study_images is None,
        ),
    )


def count(dataset: Dataset, read_up_to: int) -> Count:
    """Count images, patients and objects; reads masks if there are at most `read_up_to` cases.

    With masks read, an image counts if an object is in it; else every image that is listed, some of
    which may turn out to be empty. A dataset that cannot be listed is an error to show, not one
    that stops.
    """
    try:
        references = dataset.list().references
    except BadInputError as error:
        return Count(dataset.level, error=str(error).splitlines()[0])
    objects = None
    if len(references) <= read_up_to:
        held = {reference: _objects(dataset, reference) for reference in references}
        references = [reference for reference in references if held[reference]]
        objects = sum(held.values())
    patients = len({reference.patient_id for reference in references})
    return Count(dataset.level, len(references), patients, objects)


def _objects(dataset: Dataset, reference: CaseReference) -> int:
    """Number of classes that have a pixel in a case, 0 if it cannot be read."""
    try:
        return sum(bool(mask.any()) for mask in dataset.load(reference).masks.values())
    except BadCaseError:
        return 0


def counts(names: Iterable[str], data: str | None, read_up_to: int) -> dict[str, Count]:
    """Count every dataset, the real files if they are below `data`, else its phantoms.

    A dataset whose package cannot be fetched has neither: an error to show.
    """
    found = {}
    for name in names:
        try:
            found[name] = count(load_dataset(name, data), read_up_to)
        except MissingDatasetError as error:
            found[name] = Count("not here", error=str(error))
    return found


def banner(counted: dict[str, Count]) -> Shown:
    """Return which counts are those of phantoms; empty if none is."""
    if all(found.level != "demo" for found in counted.values()):
        return show.NOTHING
    return show.banner(
        "**Demo, not medical images**: where a dataset is not here, phantoms that a program drew "
        "are counted.",
        demo=True,
    )


def answer(counted: dict[str, Count]) -> Shown:
    """How many of the datasets are here, in one sentence; those from packages count for
    themselves."""
    missing = sum(found.level == "demo" for found in counted.values())
    packed = {name: found for name, found in counted.items() if name in PACKAGES}
    text = _here([found for name, found in counted.items() if name not in PACKAGES], "datasets")
    text += f"; phantoms stand in for {missing}" if missing else ""
    text += f"; {_here(list(packed.values()), 'further ones, from packages,')}" if packed else ""
    return show.answer(text)


def _here(counted: list[Count], what: str) -> str:
    """How many of some datasets are here, and what they hold."""
    here = [found for found in counted if found.level == "measured" and not found.error]
    images = sum(found.images for found in here)
    patients = sum(found.patients for found in here)
    held = f", with {images:,} images of {patients:,} patients" if here else ""
    return f"**{len(here)} of {len(counted)}** {what} are here{held}"


def table(counted: dict[str, Count]) -> Shown:
    """The study's Table 1 with our columns: a line for each dataset."""
    lines = [_line(DATASETS[name], found) for name, found in counted.items()]
    return show.table(pd.DataFrame(lines), fold=False, kind="medsam-words medsam-catalogue")


def _line(entry: Dataset, found: Count) -> dict[str, str]:
    card = entry.passport
    # Where masks were not read, the number of images is an upper bound.
    images = f"{found.images:,}" if found.objects is not None else f"up to {found.images:,}"
    objects = f"{found.objects:,}" if found.objects is not None else "not counted"
    here = ["–"] * 3 if found.error else [images, f"{found.patients:,}", objects]
    classes, rule = ", ".join(entry.classes), card.count_rule
    words = [f"**{found.error}**"] if found.error else []
    words += [f"masks made by {card.masks_by}"] if card.masks_by else []
    return {
        "Dataset": f"{entry.title}\n`{entry.name}`\n{classes}",
        "Images in the study": f"{card.study_images:,}" if card.study_images else "–",
        "Here": found.level + (", masks by a model" if card.masks_by and not found.error else ""),
        **dict(zip(("Images", "Patients", "Objects"), here, strict=True)),
        "Fetched": how_fetched(entry.name),
        "What counts as an image; licence": "\n".join([*words, rule, f"licence: {card.licence}"]),
    }


def passports(names: Sequence[str]) -> Shown:
    """The passport of each dataset, closed until it is clicked."""
    return show.joined(passport(DATASETS[name]) for name in names)


def models_table() -> Shown:
    """A line for each model of the registry: what it was trained with and takes, and with which
    weights it ran here."""
    lines = [
        {
            "Model": f"{entry.title}\n`{name}`{_parameters_of(entry)}",
            "Takes": _takes(entry),
            "Input, pixels": entry.facts.side,
            "Ran here with": entry.facts.ran,
            "Trained with": entry.facts.trained,
        }
        for name, entry in MODELS.items()
    ]
    return show.table(pd.DataFrame(lines), fold=False, kind="medsam-words medsam-prose")


def weights_table() -> Shown:
    """A line for each model of the registry: how its weights are had, and on which terms."""
    lines = [
        {
            "Model": f"`{name}`",
            "Weights": _size_of(entry),
            "How they are had": _source_of(entry),
            "Licence": entry.licence,
            "Cite": entry.citation,
        }
        for name, entry in MODELS.items()
    ]
    return show.table(pd.DataFrame(lines), kind="medsam-words medsam-prose")


def _takes(entry: ModelEntry) -> str:
    """Kinds of prompts that a model takes; none of them takes text."""
    words = {"clicks": "clicks", "boxes": "a box", "logits": "its last mask"}
    return ", ".join(words[prompt] for prompt in adapter(entry).prompts)


def _parameters_of(entry: ModelEntry) -> str:
    """A line with a model's number of parameters, nothing where it is not known."""
    millions = entry.facts.parameters
    return f"\n{millions:,.1f} million parameters" if millions else ""


def _size_of(entry: ModelEntry) -> str:
    """Size of a model's weights in MB of a million bytes, a dash where it is not published."""
    if entry.checkpoint and isinstance(entry.checkpoint.location, Path):
        return f"{entry.checkpoint.location.stat().st_size / 1e6:,.1f} MB"
    return (
        f"{entry.checkpoint.size / 1e6:,.0f} MB"
        if entry.checkpoint and entry.checkpoint.size
        else "–"
    )


def _source_of(entry: ModelEntry) -> str:
    """Where a model's weights come from, and what they are verified with."""
    if not entry.checkpoint:
        return f"by path: {entry.by_hand}" if entry.by_hand else "needs none"
    if isinstance(entry.checkpoint.location, Path):
        return "in the repository"
    if isinstance(entry.checkpoint, PackagedCheckpoint):
        return f"{entry.checkpoint.location}, fetched on first use, verified with pinned hashes"
    if isinstance(entry.checkpoint, HubCheckpoint):
        return f"huggingface.co/{entry.checkpoint.location}, fetched on first use, or by path"
    known = (
        "the published hash" if entry.checkpoint.known_sha256 else "the hash of the first download"
    )
    mirrors = (
        " from one of two addresses" if isinstance(entry.checkpoint, MirroredCheckpoint) else ""
    )
    return f"downloaded on first use{mirrors}, verified with {known}"
