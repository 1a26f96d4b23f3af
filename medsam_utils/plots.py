"""Figures of a page: functions of (axes, rows), and the step from a figure to SVG inside a page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape

import cv2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from .clicks import Click

# Okabe and Ito's colours that keep a contrast of 3 on white and on near black alike
COLOURS = ["#0082c8", "#d55e00", "#009e73", "#cc79a7", "#8a8a8a"]
MARKERS = "osD^vPX"  # not as many as colours, so that colour and marker together repeat late
TRUTH, PREDICTION = "#00c853", "#ff3b30"
MISSED, EXTRA = (
    "#2b8cff",
    "#ff9f0a",
)  # false negative and false positive: blue and orange, not red and green
INK = "#010203"  # stands for the colour of the surrounding text, light or dark; `svg` puts it in
STYLE = {
    "font.size": 10,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],  # to measure with; `svg` writes the page's own font
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#8a8a8a",
    "grid.alpha": 0.25,
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's own font
    "svg.hashsalt": "medsam_utils",  # the same figure gives the same bytes
}


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of width x height inches in the book's style, without pyplot's global state."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.add_subplot()


def new_picture(image: np.ndarray, width: float = 3.6) -> tuple[Figure, Axes]:
    """A figure of the image's own proportions that its axes fill, `width` inches wide."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, width * image.shape[0] / image.shape[1]))
        return figure, figure.add_axes((0, 0, 1, 1))


def curves(axes: Axes, means: pd.DataFrame) -> None:
    """Mean IoU against clicks, one line per model with its 95 % band.

    means: rows of `statistics.mean_curves` of one task.
    """
    for i, (model, curve) in enumerate(means.groupby("model", sort=False)):
        colour = COLOURS[i % len(COLOURS)]
        axes.fill_between(
            curve["click"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0
        )
        axes.plot(
            curve["click"],
            curve["iou"],
            color=colour,
            marker=MARKERS[i % len(MARKERS)],
            label=model,
            ms=5,
            clip_on=False,
        )
    _clicks_and_iou(axes, int(means["click"].max()))


def published_curves(axes: Axes, published: pd.DataFrame) -> None:
    """The study's curves of one task, dashed and grey-edged so that they are never taken for ours.

    published: columns method, click, iou.
    """
    for i, (method, curve) in enumerate(published.groupby("method", sort=False)):
        style = {
            "color": INK,
            "linestyle": "--",
            "linewidth": 1.2,
            "marker": "s^"[i % 2],
            "ms": 4.5,
            "mfc": "none",
        }
        axes.plot(curve["click"], curve["iou"], label=method, **style)
    _clicks_and_iou(axes, int(published["click"].max()))


def lines(
    axes: Axes, table: pd.DataFrame, names: Sequence[str], dashed: bool = False, x: str = "click"
) -> None:
    """Draw lines of mean IoU against clicks or another column, with their names below.

    table: columns line, x and iou. Those of `names` that are in it are drawn, each in the colour
    and with the marker of its place there; columns low and high give a band. dashed: for the
    study's values.
    """
    for i, name in enumerate(names):
        curve = table[table["line"] == name]
        if len(curve):
            style = {
                "color": COLOURS[i % len(COLOURS)],
                "marker": MARKERS[i % len(MARKERS)],
                "ms": 5,
            }
            style |= {"linestyle": "--", "mfc": "none"} if dashed else {}
            axes.plot(curve[x], curve["iou"], label=name, clip_on=False, **style)
            if "low" in curve:
                band = {"color": style["color"], "alpha": 0.18, "linewidth": 0}
                axes.fill_between(curve[x], curve["low"], curve["high"], **band)
    if x == "click":
        _clicks_and_iou(axes, int(table["click"].max()))
        axes.get_legend().remove()
    axes.figure.legend(loc="outside lower left", frameon=False, labelcolor=INK)


def by_task(
    axes: Axes,
    means: pd.DataFrame,
    tasks: Sequence[str],
    names: Sequence[str],
    hollow: bool = False,
) -> None:
    """Draw one point for each task and line, with its 95 % interval; first task at the top.

    means: columns task, line, iou, low and high. Each of `names` has its place's colour and marker.
    hollow: for the study's values, as in `published_curves`.
    """
    for i, name in enumerate(names):
        line_means = means[means["line"] == name].set_index("task").reindex(tasks)
        style = {"color": COLOURS[i], "marker": MARKERS[i]}
        if hollow:
            style = {"color": INK, "marker": "s^"[i % 2], "mfc": "none"}
        reach = _reach(line_means["iou"], line_means["low"], line_means["high"])
        axes.errorbar(
            line_means["iou"],
            range(len(tasks)),
            xerr=reach,
            label=name,
            ms=6,
            linestyle="none",
            **style,
        )
    axes.set(xlim=(0, 1), ylim=(len(tasks) - 0.5, -0.5), yticks=range(len(tasks)), xlabel="IoU")
    axes.set_yticklabels(tasks)
    axes.figure.legend(loc="outside lower left", ncols=len(names), frameon=False, labelcolor=INK)


def _reach(means: pd.Series, low: pd.Series, high: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return how far intervals reach to both sides of their means, never below 0.

    Where all values are equal, an end may differ from the mean in its last digit.
    """
    return (means - low).clip(lower=0), (high - means).clip(lower=0)


def reliability(axes: Axes, bins: pd.DataFrame) -> None:
    """Draw mean true IoU of each bin of predicted IoU, its 95 % interval, and the diagonal.

    bins: of one model, as `confidence.calibration` gives them. The more masks, the larger the
    point.
    """
    axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    reach = _reach(bins["iou"], bins["low"], bins["high"])
    axes.errorbar(
        bins["predicted_iou"], bins["iou"], yerr=reach, color=COLOURS[0], linestyle="none"
    )
    sizes = 15 + 150 * bins["masks"] / bins["masks"].sum()
    axes.scatter(bins["predicted_iou"], bins["iou"], s=sizes, color=COLOURS[0], clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted IoU", ylabel="true IoU", aspect="equal")


def differences(
    axes: Axes, table: pd.DataFrame, tasks: Sequence[str], models: Sequence[str], reach: float
) -> None:
    """Draw differences of IoU by task with their 95 % interval; a colour for each model.

    table: columns task, model, difference, difference low, difference high. reach: where the axis
    ends, on both sides.
    """
    axes.axvline(0, color=INK, linewidth=0.8)
    for i, model in enumerate(models):
        model_rows = table[table["model"] == model].set_index("task").reindex(tasks)
        places = np.arange(len(tasks)) + 0.5 * ((i + 0.5) / len(models) - 0.5)
        mean, low, high = (model_rows[f"difference{end}"] for end in ("", " low", " high"))
        ends = _reach(mean, low, high)
        style = {
            "color": COLOURS[i],
            "marker": MARKERS[i],
            "label": model,
            "ms": 5,
            "linestyle": "none",
        }
        axes.errorbar(mean, places, xerr=ends, **style)
    axes.set(xlim=(-reach, reach), ylim=(len(tasks) - 0.5, -0.5), yticks=range(len(tasks)))
    axes.set_xlabel("change of IoU")
    axes.set_yticklabels(tasks)
    axes.figure.legend(loc="outside lower left", ncols=len(models), frameon=False, labelcolor=INK)


def regions(axes: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw effects with their 95 % interval on grey bars of where they should lie, a line each.

    table: columns n (what stands beside the line), line (which of `names`), effect, low, high,
    wanted_low and wanted_high, either of which may be infinite.
    """
    places = np.arange(len(table))
    values = table[["effect", "low", "high"]].stack()
    ends = table[["wanted_low", "wanted_high"]].replace([np.inf, -np.inf], np.nan).stack()
    low, high = min(values.min(), ends.min()) - 0.1, max(values.max(), ends.max()) + 0.1
    left, right = (table[f"wanted_{end}"].clip(low, high) for end in ("low", "high"))
    axes.barh(places, right - left, left=left, height=0.8, color="#8a8a8a", alpha=0.3)
    for i, name in enumerate(names):
        lines = (table["line"] == name).to_numpy()
        part = table[lines]
        reach = _reach(part["effect"], part["low"], part["high"])
        style = {"color": COLOURS[i], "marker": MARKERS[i], "ms": 5, "linestyle": "none"}
        axes.errorbar(part["effect"], places[lines], xerr=reach, label=name, **style)
    axes.set(xlim=(low, high), ylim=(len(table) - 0.5, -0.5), yticks=places, xlabel="effect")
    axes.set_yticklabels(table["n"])
    axes.figure.legend(loc="outside lower left", ncols=len(names), frameon=False, labelcolor=INK)


def _clicks_and_iou(axes: Axes, clicks: int) -> None:
    """Same axes on every curve of the book, so that panels can be compared by eye."""
    axes.set(
        xlim=(0.5, clicks + 0.5),
        ylim=(0, 1),
        xticks=range(1, clicks + 1),
        xlabel="clicks",
        ylabel="IoU",
    )
    axes.legend(loc="best", frameon=False, labelcolor=INK)


def example(
    axes: Axes,
    image: np.ndarray,
    truth: np.ndarray | None = None,
    prediction: np.ndarray | None = None,
    clicks: Sequence[Click] = (),
    numbered: bool = False,
    side: int = 400,
) -> None:
    """An image with the truth's contour in green, the prediction's in red dashes, clicks as dots.

    image: uint8, H x W x 3. truth, prediction: bool, H x W, or None. clicks: objects with row, col
    and positive; positive ones are green, negative ones red, as in the study's figures 2 and 3.
    numbered: write the number of each click beside it. side: pixels of the longest side that the
    page shows; a larger image is reduced.
    """
    step = max(1, -(-max(image.shape[:2]) // side))
    rows, cols = image.shape[:2]
    picture = Image.fromarray(image).reduce(step) if step > 1 else image
    axes.imshow(picture, extent=(-0.5, cols - 0.5, rows - 0.5, -0.5), interpolation="none")
    for mask, colour, dashes in ((truth, TRUTH, "solid"), (prediction, PREDICTION, (0, (3, 1.2)))):
        if mask is None or not mask.any():
            continue
        # padded, so that the contour of an object at the image's edge is closed
        inner = np.pad(mask[::step, ::step], 1).astype(np.uint8)
        x, y = (step * (np.arange(n) - 1) for n in inner.shape[::-1])
        axes.contour(x, y, inner, levels=[0.5], colors="black", linewidths=2.6, alpha=0.45)
        axes.contour(x, y, inner, levels=[0.5], colors=colour, linewidths=1.5, linestyles=[dashes])
    for number, click in enumerate(clicks, start=1):
        colour = TRUTH if click.positive else PREDICTION
        axes.plot(click.col, click.row, "o", ms=7, mfc=colour, mec="white", mew=1.2)
        if numbered:
            offset = {"xytext": (5, 3), "textcoords": "offset points"}
            axes.annotate(
                str(number), (click.col, click.row), color="white", weight="bold", **offset
            )
    axes.set(xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    axes.axis("off")


def distance_map(axes: Axes, region: np.ndarray, click: Click) -> None:
    """Draw the distance of a region's pixels to its boundary, and the click at the largest.

    region: bool, H x W. The image's edge counts as boundary.
    """
    distances = cv2.distanceTransform(
        np.pad(region.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    colours = matplotlib.colormaps["viridis"](
        distances[1:-1, 1:-1] / max(distances.max(), 1), bytes=True
    )
    example(
        axes, np.where(region[..., None], colours[..., :3], 20).astype(np.uint8), clicks=[click]
    )


def with_error(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the image with its error painted: blue where object was missed, orange where added.

    image: uint8, H x W x 3. truth, prediction: bool, H x W. Returns uint8, H x W x 3.
    """
    painted = image.copy()
    for region, colour in ((truth & ~prediction, MISSED), (prediction & ~truth, EXTRA)):
        rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
        painted[region] = (0.3 * image[region] + 0.7 * rgb).astype(np.uint8)
    return painted


def svg(figure: Figure, alt: str) -> str:
    """The figure as an SVG element to stand inside a page, where its text takes the page's colour.

    alt: what a reader who does not see the figure must know; required. Pictures inside become JPEG,
    a fifth of the size of matplotlib's RGBA PNG.
    """
    if not alt.strip():
        raise ValueError("a figure needs an alternative text: say what it shows, with its numbers")
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = text.replace("'DejaVu Sans'", "system-ui")
    # the style's selector is *, so it would style the whole page
    text = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r' id="[a-z]+[A-Za-z]*_\d+"', "", text
    )  # would stand twice on a page with two figures
    # a contour has thousands of points, to a millionth of a point: a hundredth is finer than any
    # screen
    text = re.sub(r' d="[^"]+"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r"data:image/png;base64,([^\"]+)", _as_jpeg, text)
    size = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', text)
    assert size  # matplotlib has just written it
    widest = f"{float(size[1]) * 4 / 3:.0f}px"
    style = f'style="width:100%;max-width:{widest};height:auto;stroke-linejoin:round"'
    return text.replace(size[0], f'{style} role="img" aria-label="{escape(alt)}"', 1)


def _as_jpeg(match: re.Match) -> str:
    """A base64 PNG of matplotlib's as a base64 JPEG."""
    picture = Image.open(io.BytesIO(base64.b64decode(match[1]))).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
