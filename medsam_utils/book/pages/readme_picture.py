"""README's picture: SAM on a real CT, click after click.

Written by `python -m medsam_utils.book.pages.readme_picture book/site/sam-on-ct.png`.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ... import plots
from ...clicks import Protocol
from ...datasets import load_dataset
from ...models import load_model
from ...simulation import simulate_clicks

CASE, OBJECT, CLICKS = "ct_torso_z036", "spleen", (1, 3, 5, 9)
BODY = slice(84, 462), slice(46, 472)  # rows and columns of the slice that are shown
RULE = Protocol(mask_choice="first", later_mask_choice="single", feedback=True)


def draw() -> Figure:
    """Return one slice with mobile_sam's mask of OBJECT after each of CLICKS, side by side.

    Raises BadInputError where the CT or the weights cannot be had.
    """
    dataset, model = load_dataset("ct_torso"), load_model("mobile_sam", device="cpu")
    case = dataset.load(CASE)
    truth, clicks = case.masks[OBJECT], []
    case = replace(case, masks={OBJECT: truth})
    rows, cols = BODY
    figure = Figure(figsize=(10, 2.5), layout="compressed")
    panels = iter(figure.subplots(1, len(CLICKS)))
    for n, target in simulate_clicks(case, dataset.tasks, model, RULE, max(CLICKS)):
        clicks += [target.click] if target.click else []
        if n not in CLICKS:
            continue
        axes = next(panels)
        plots.example(axes, case.image, truth, target.prediction.mask(), clicks, side=512)
        axes.set(xlim=(cols.start, cols.stop), ylim=(rows.stop, rows.start))
        axes.set_title(
            f"{n} click{'s' if n > 1 else ''}: IoU {target.scores['iou']:.2f}", fontsize=11
        )
    return figure


def write(target: Path) -> None:
    """Write the picture as a PNG of 256 colours, which is a third of its size in full colour."""
    buffer = io.BytesIO()
    draw().savefig(buffer, dpi=140, facecolor="white")
    Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        target, optimize=True
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]))
