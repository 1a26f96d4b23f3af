"""What the page of claims shows: the counts of verdicts, every claim with its effect, the table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from ... import plots
from ...case import BadInputError
from ...comparison import ALPHA
from ...datasets import Dataset
from ...models import Model
from ...models.ritm import Ritm
from ...models.sam import Sam
from .. import show
from ..runs import Runs
from ..show import Shown
from . import page
from .comparison import p_text
from .figures import level_text

VERDICTS = ("supported", "refuted", "undetermined")


def real(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return the datasets of real images; raises BadInputError if there is none."""
    found = [dataset for dataset in datasets if dataset.level == "measured"]
    if not found:
        names = ", ".join(dataset.name for dataset in datasets)
        raise BadInputError(
            f"{names}: phantoms alone, and nothing follows from them: say in `data` where real "
            "images are, or add ct_torso"
        )
    return found


def stand_ins(runs: Runs) -> dict[str, str]:
    """Return the first model of a run that is a SAM, and the first that is a RITM, by method."""
    kinds: dict[str, type[Model]] = {"SAM": Sam, "RITM": Ritm}
    return {
        method: name
        for method, kind in kinds.items()
        for name in [next((n for n, m in runs.models.items() if isinstance(m, kind)), "")]
        if name
    }


def levels(study: pd.DataFrame, measured: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return verdicts on the released numbers and on a run in one table, with a column level."""
    level = level_text("measured", rows.loc[rows["level"] == "measured", "task"])
    tables = [(study, "published"), (measured, level)]
    return pd.concat([table.assign(level=name) for table, name in tables if len(table)])


def answer(verdicts: pd.DataFrame) -> Shown:
    """Return how many claims are supported, refuted and undetermined, a sentence for each level."""
    sentences = []
    for level, table in verdicts.groupby("level", sort=False):
        counts = table["verdict"].value_counts()
        parts = [f"**{counts.get(verdict, 0)}** are {verdict}" for verdict in VERDICTS]
        sentences.append(
            f"Of **{len(table)}** sentences of the study {page.in_a_row(parts)} ({level})"
        )
    return show.answer(*sentences)


def effects(verdicts: pd.DataFrame) -> Shown:
    """Return each tested claim's effect with its interval, and where it lies if the claim is true.

    verdicts: of `levels`. The numbers beside the points are those of the table.
    """

    def draw(axes: Axes, table: pd.DataFrame) -> str:
        """The first claim at the top."""
        axes.figure.set_figheight(1.2 + 0.2 * len(table))
        plots.regions(axes, table.assign(line=table["verdict"]), VERDICTS)
        counted = page.in_a_row([f"{sum(table['verdict'] == v)} {v}" for v in VERDICTS])
        return f"{counted}; bars: 95 % interval; grey: where the effect lies if the sentence holds"

    tested = verdicts[verdicts["wanted_low"].notna()]
    kind = "Points of the effect of each claim with its interval"
    return show.panels(tested.assign(what="claims"), ["what", "level"], kind, draw, (4.4, 3), 380)


def table(verdicts: pd.DataFrame) -> Shown:
    """Return the claims as a table for each level: sentence, test, effect, p, power, verdict."""
    parts = []
    for level, lines in verdicts.groupby("level", sort=False):
        tests = int(lines["p"].notna().sum())
        effects = [page.with_interval(*of, ".2f") for of in lines[["effect", "low", "high"]].values]
        values = lines["effect"].map("{:.4f}".format)
        notes = ("\n" + lines["note"]).where(lines["note"] != "", "")
        shown = {
            "n": lines["n"],
            "§": lines["section"],
            "the study": "“" + lines["quote"] + "”",
            "found": values.where(lines["wanted_low"].isna(), effects),
            "verdict": "**" + lines["verdict"] + "**",
            "p": [p_text(*line) for line in lines[["p_holm", "below"]].values],
            "power": lines["power"].map("{:.0%}".format).where(lines["power"].notna(), ""),
            "tested": lines["says"] + ": " + lines["wanted"] + notes,
        }
        text = f"**{level}.** p is corrected for the {page.plural(tests, 'test')} of this table."
        parts.append(
            show.paragraphs(text)
            + show.table(pd.DataFrame(shown), fold=False, kind="medsam-claims")
        )
    return show.joined(parts)


def where_undetermined(verdicts: pd.DataFrame) -> Shown:
    """Return how many claims are undetermined, and of how many a true one would have been seen."""
    open_ones = verdicts[verdicts["verdict"] == "undetermined"]
    likely = open_ones[open_ones["power"] >= 0.8]
    untested = open_ones["p"].isna().sum()
    return show.paragraphs(
        f"Of {page.plural(len(open_ones), 'undetermined line')} {untested} could not be tested "
        f"with so few patients or datasets. Of the others {len(likely)} had a power of 80 % or "
        "more: there an effect as large as expected would mostly have been seen "
        f"(p below {ALPHA})."
    )
