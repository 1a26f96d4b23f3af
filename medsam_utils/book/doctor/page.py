"""The page of `medsam_utils.doctor`: its report, with overlays of the cases it names."""

from __future__ import annotations

import base64
from html import escape
from itertools import cycle

import cv2
import numpy as np

from ...case import BadCaseError, Case
from ...datasets import Dataset
from .findings import Report

COLOURS = (
    (0, 158, 115),
    (213, 94, 0),
    (0, 130, 200),
    (204, 121, 167),
    (240, 228, 66),
    (138, 138, 138),
)


def page(dataset: Dataset, report: Report, longest: int = 24) -> str:
    """The report as one HTML file, with overlays: of each kind in turn, up to `longest`, then
    typical ones.

    It refers to nothing outside itself, and shows file names and pixels, no text out of a file's
    header.
    """
    queues = [
        [
            (f"{kind}: {finding.detail or finding.where}", reference)
            for finding in found
            for reference in finding.references
        ]
        for kind, found in report.kinds().items()
    ]
    turns = [queue[i] for i in range(longest) for queue in queues if i < len(queue)][:longest]
    figures = []
    for caption, reference in turns + [("typical", reference) for reference in report.typical]:
        try:
            case = dataset.load(reference)
        except BadCaseError:
            continue  # It is among the findings already.
        figures.append(
            f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{_overlay(case)}">'
            f"<figcaption>{escape(case.case_id)}<br>{escape(caption)}</figcaption></figure>"
        )
    tables = "".join(
        f"<details><summary>{escape(kind)} ({len(found)})</summary><ul>"
        + "".join(
            f"<li>{escape(f'{f.where}: {f.detail}' if f.detail else f.where)}</li>" for f in found
        )
        + "</ul></details>"
        for kind, found in report.kinds().items()
    )
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in report.facts)
    legend = " ".join(
        f'<b style="color: rgb{colour}">{escape(name)}</b>'
        for name, colour in zip(dataset.classes, cycle(COLOURS), strict=False)
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(report.title)}</title>
<style>:root {{color-scheme: light dark}}
body {{font: 16px/1.4 sans-serif; margin: 2em; max-width: 75em}}
figure {{display: inline-block; width: 256px; margin: .5em; vertical-align: top;
  overflow-wrap: anywhere}}
img {{width: 256px}} figcaption {{font-size: 13px}}</style>
<h1>{escape(report.title)}</h1><ul>{facts}</ul>{tables or "<p>Nothing found.</p>"}
<p>Outlines: {legend}. Small objects are circled.</p>{"".join(figures)}</html>
"""


def _overlay(case: Case, side: int = 256) -> str:
    """The image with its objects outlined, at most `side` pixels long, as base64 of a PNG."""
    scale = side / max(case.image.shape[:2])
    size = tuple(max(1, round(n * scale)) for n in case.image.shape[1::-1])
    picture = cv2.resize(
        case.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    for mask, colour in zip(case.masks.values(), cycle(COLOURS), strict=False):
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            points = np.rint((outline + 0.5) * scale).astype(np.int32)
            cv2.polylines(picture, [points], True, colour, 1)
            if np.ptp(points[:, 0], axis=0).max() < 8:
                cv2.circle(picture, points[0, 0].tolist(), 10, colour, 1)
    return base64.b64encode(cv2.imencode(".png", picture[..., ::-1])[1]).decode()
