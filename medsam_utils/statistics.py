"""Rows to means, intervals and number of clicks: everything on a page that is a statistic."""

from __future__ import annotations

import numpy as np
import pandas as pd

GROUP = ["task", "model", "level"]


def iou_by_click(rows: pd.DataFrame) -> pd.DataFrame:
    """IoU of every object after every click: one row per object, one column per click (1, 2, ...).

    The index holds task, model, level, case_id and patient_id. An object whose prediction became perfect
    has no error left to click on; its IoU is carried forward to the remaining clicks.

    >>> rows = pd.DataFrame({"task": "T", "model": "m", "level": "demo", "case_id": "a", "patient_id": "p",
    ...                      "click": [1, 2], "iou": [0.5, 1.0]})
    >>> other = rows.assign(case_id="b", click=[1, 3], iou=[0.2, 0.4])
    >>> iou_by_click(pd.concat([rows, other])).values.tolist()
    [[0.5, 1.0, 1.0], [0.2, 0.2, 0.4]]
    """
    ious = rows.set_index([*GROUP, "case_id", "patient_id", "click"])["iou"]
    table = ious.unstack("click", sort=False)  # tasks and models keep the order in which they were given
    return table[sorted(table.columns)].ffill(axis="columns")


def clustered_means(
    values: np.ndarray, clusters: np.ndarray, repeats: int = 1000, seed: int = 0
) -> np.ndarray:
    """Means of `repeats` bootstrap samples that draw whole clusters (patients) with replacement.

    values: objects x clicks; NaN is left out. clusters: one label per object, because objects of one
    patient are not independent. Returns repeats x clicks. One cluster gives the mean itself, again and again.

    >>> clustered_means(np.array([[0.2], [0.4]]), np.array(["p", "p"]), repeats=2).round(2).tolist()
    [[0.3], [0.3]]
    """
    labels, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    known = np.isfinite(values)
    totals, counts = np.zeros((2, len(labels), values.shape[1]))
    np.add.at(totals, cluster, np.where(known, values, 0))
    np.add.at(counts, cluster, known)
    draws = np.random.default_rng(seed).multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), repeats
    )
    with np.errstate(invalid="ignore"):  # a sample may hold no known value: 0 / 0 is NaN, left out below
        return (draws @ totals) / (draws @ counts)


def interval(values: np.ndarray, clusters: np.ndarray, repeats: int = 1000, seed: int = 0) -> np.ndarray:
    """Lower and upper end of the patient-clustered 95 % bootstrap interval of the mean: 2 x clicks.

    Percentile method. With a single patient there is no spread between patients to see: NaN.

    >>> interval(np.array([[0.2], [0.4]]), np.array(["p", "p"])).tolist()
    [[nan], [nan]]
    """
    if len(set(clusters)) < 2:
        return np.full((2, values.shape[1]), np.nan)
    return np.nanpercentile(clustered_means(values, clusters, repeats, seed), [2.5, 97.5], axis=0)


def mean_curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean IoU over the images of each task after each click, with its 95 % interval.

    Columns: task, model, level, click, iou, low, high. A mean never crosses tasks, models or levels.
    An undefined IoU (both masks empty) is left out.
    """
    curves = []
    for key, table in iou_by_click(rows).groupby(GROUP, sort=False):
        low, high = interval(table.to_numpy(), table.index.get_level_values("patient_id").to_numpy())
        mean = table.mean().to_numpy()
        curve = pd.DataFrame({"click": table.columns, "iou": mean, "low": low, "high": high})
        curves.append(curve.assign(**dict(zip(GROUP, key, strict=True))))
    return pd.concat(curves, ignore_index=True)[[*GROUP, "click", "iou", "low", "high"]]


def noc(ious: np.ndarray, target: float) -> tuple[float, float]:
    """Mean number of clicks until the IoU first reaches `target`, and the share of objects that never do.

    ious: objects x clicks. An object that never reaches the target counts as the number of clicks that were
    made, so the mean is only readable beside that share. The first click that reaches it counts, even if
    a later one spoils the mask again.

    >>> noc(np.array([[0.5, 0.8, 0.7], [0.1, 0.2, 0.3]]), target=0.8)
    (2.5, 0.5)
    >>> noc(np.empty((0, 3)), target=0.8)
    (nan, nan)
    """
    if not len(ious):
        return float("nan"), float("nan")
    reached = ious >= target
    missed = ~reached.any(axis=1)
    clicks = np.where(missed, ious.shape[1], reached.argmax(axis=1) + 1)
    return float(clicks.mean()), float(missed.mean())


def summary(rows: pd.DataFrame, clicks: tuple[int, ...] = (1, 3, 5, 9), target: float = 0.8) -> pd.DataFrame:
    """One line per task and model: cases, patients, objects, mean IoU at some clicks, NoC and its miss share.

    Columns: task, model, level, cases, patients, objects, one `IoU@k` for each click that was made,
    `NoC@80` and `missed` (0..1) for target 0.8.
    """
    lines = []
    for key, table in iou_by_click(rows).groupby(GROUP, sort=False):
        line = dict(zip(GROUP, key, strict=True))
        line["cases"] = table.index.get_level_values("case_id").nunique()
        line["patients"] = table.index.get_level_values("patient_id").nunique()
        line["objects"] = len(table)
        line |= {f"IoU@{click}": table[click].mean() for click in clicks if click in table}
        line[f"NoC@{target * 100:.0f}"], line["missed"] = noc(table.dropna(how="all").to_numpy(), target)
        lines.append(line)
    return pd.DataFrame(lines)


def at_percentiles(rows: pd.DataFrame, percentiles: tuple[int, ...] = (25, 50, 75)) -> dict[int, tuple]:
    """The object that lies at each percentile of the IoU after one click: percentile -> (case_id, IoU).

    rows: of one task and one model. Nearest rank, so each is a real object; ties go in the order of the
    case names. Objects whose IoU is undefined are left out.

    >>> rows = pd.DataFrame({"case_id": list("abc"), "click": 1, "iou": [0.9, 0.1, 0.5]})
    >>> at_percentiles(rows)
    {25: ('c', 0.5), 50: ('c', 0.5), 75: ('a', 0.9)}
    >>> at_percentiles(rows.iloc[:0])
    {}
    """
    first = rows[(rows["click"] == 1) & rows["iou"].notna()].sort_values(["iou", "case_id"])
    if first.empty:
        return {}
    positions = {p: int((len(first) - 1) * p / 100 + 0.5) for p in percentiles}
    return {p: (first["case_id"].iloc[i], float(first["iou"].iloc[i])) for p, i in positions.items()}
