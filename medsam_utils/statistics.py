"""Rows to means, intervals and number of clicks: everything on a page that is a statistic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from .case import BadInputError, volume_id

GROUP = ["task", "model", "level"]
LENGTHS = ("nsd", "hd95")  # metrics that depend on the unit of lengths
FEWEST = 5  # patients; with fewer, no interval covers what it says


def iou_by_click(rows: pd.DataFrame, value: str = "iou") -> pd.DataFrame:
    """IoU of every object after every click: one row per object, one column per click (1, 2, ...).

    value: another column of the rows instead of the IoU, such as "nsd@2". The index holds task,
    model, level, case_id and patient_id. An object whose prediction became perfect has no error
    left to click on; its IoU is carried forward to the remaining clicks. Raises BadInputError where
    a task's lengths are in mm for some cases and in pixels for others.

    >>> same = {"task": "T", "model": "m", "level": "demo", "case_id": "a", "patient_id": "p"}
    >>> rows = pd.DataFrame({**same, "click": [1, 2], "iou": [0.5, 1.0]})
    >>> other = rows.assign(case_id="b", click=[1, 3], iou=[0.2, 0.4])
    >>> iou_by_click(pd.concat([rows, other])).values.tolist()
    [[0.5, 1.0, 1.0], [0.2, 0.2, 0.4]]
    """
    if value.startswith(LENGTHS) and (rows.groupby("task")["unit"].nunique() > 1).any():
        raise BadInputError(
            f"{value} is in mm for some cases and in pixels for others, which have no spacing: "
            "take the rows of one `unit`"
        )
    ious = rows.set_index([*GROUP, "case_id", "patient_id", "click"])[value]
    table = ious.unstack(
        "click", sort=False
    )  # tasks and models keep the order in which they were given
    return table[sorted(table.columns)].ffill(axis="columns")


def area_and_end(rows: pd.DataFrame, value: str = "iou", first: int = 1) -> pd.DataFrame:
    """Return the area under each object's curve over clicks, and its last value.

    Columns: task, model, level, case_id, patient_id, auc and final. value: a column of the rows.
    first: the click with which the area begins. auc is by trapezoids and divided by the number of
    steps, so it is a mean height of the curve; with one click it is the value itself. That of
    CVPR's challenge is not divided: four times as much, for a box and five clicks from first=2 on.
    A value that is undefined after some click has no area: NaN.

    >>> same = {"task": "T", "model": "m", "level": "demo", "case_id": "a", "patient_id": "p"}
    >>> rows = pd.DataFrame({**same, "click": [1, 2, 3], "iou": [0.0, 0.5, 0.8]})
    >>> area_and_end(rows)[["auc", "final"]].round(3).values.tolist()
    [[0.45, 0.8]]
    """
    table = iou_by_click(rows, value)
    heights = table[[click for click in table.columns if click >= first]].to_numpy(float)
    steps = (heights[:, 1:] + heights[:, :-1]) / 2 if heights.shape[1] > 1 else heights
    ends = {"auc": steps.mean(axis=1), "final": heights[:, -1]}
    return table.index.to_frame(index=False).assign(**ends)


def by_volume(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of slices as rows of their volumes: all slices after the same click, stacked.

    rows: with the metric union, see `evaluate`. Columns: dataset, task, model, protocol, level,
    case_id (the volume's), patient_id, click, slices, union, iou and dice, which `mean_curves` and
    others take. Slices without the object have no row, and count as empty in truth and prediction;
    a run of some cases alone is judged on their slices. Raises BadInputError for rows without the
    union, and for images that are no slices.

    >>> same = {"dataset": "d", "task": "T", "model": "m", "protocol": "paper", "level": "demo"}
    >>> same |= {"patient_id": "p", "click": 1}
    >>> cases = {"case_id": ["v_z004", "v_z005"], "slice_index": [4, 5]}
    >>> rows = pd.DataFrame({**same, **cases, "iou": [0.5, 1.0], "union": [8, 2]})
    >>> by_volume(rows)[["case_id", "slices", "union", "iou"]].values.tolist()  # 4 and 2 of 10
    [['v', 2, 10, 0.6]]
    """
    if "union" not in rows:
        raise BadInputError('rows without union: compute them with metrics=("union",)')
    if rows["slice_index"].isna().any():
        names = ", ".join(rows.loc[rows["slice_index"].isna(), "dataset"].unique())
        raise BadInputError(f"{names} has images that are no slices: give rows of volumes alone")
    volume_ids = list(map(volume_id, rows["case_id"], rows["slice_index"]))
    common = (rows["iou"] * rows["union"]).round()
    parts = rows.assign(case_id=volume_ids, common=common, slices=1)
    keys = ["dataset", *GROUP, "protocol", "case_id", "patient_id", "click"]
    volumes = parts.groupby(keys, sort=False)[["slices", "union", "common"]].sum().reset_index()
    common, union = volumes.pop("common"), volumes["union"]
    return volumes.assign(iou=common / union, dice=2 * common / (common + union))


def challenge_scores(rows: pd.DataFrame, tolerance: float = 2) -> pd.DataFrame:
    """Return the four scores of CVPR's interactive challenge for each image and model.

    rows: under `clicks.CVPR` with six prompts and the metric nsd of the tolerance, so of images or
    single slices, while the challenge scores volumes whole. Columns: model,
    level, case_id, patient_id, dsc_auc, dsc_final, nsd_auc, nsd_final. After each prompt Dice and
    NSD are means over the image's classes, and NSD counts as 0 where that Dice is not above 0.2;
    areas are over the five clicks, by trapezoids of width 1: at most 4.
    """
    image = ["model", "level", "case_id", "patient_id"]
    names = {"dice": "dsc", f"nsd@{tolerance:g}": "nsd"}
    means = rows.groupby([*image, "click"], sort=False)[list(names)].mean().rename(columns=names)
    means["nsd"] = means["nsd"].where(means["dsc"] > 0.2, 0.0)
    curves = means.unstack("click", sort=False).sort_index(axis="columns", level="click")
    scores = {}
    for name in ("dsc", "nsd"):
        heights = curves[name].iloc[:, -5:]
        scores[f"{name}_auc"] = heights.T.rolling(2).mean().sum()
        scores[f"{name}_final"] = heights.iloc[:, -1]
    return pd.DataFrame(scores).reset_index()


def by_object(rows: pd.DataFrame, clicks: Sequence[int] | None = None) -> pd.DataFrame:
    """Return `iou_by_click` as a line per object and click.

    Columns: task, model, level, case_id, patient_id, click, iou.

    clicks: those that are wanted, of which the run may lack some; None for all.
    """
    table = iou_by_click(rows)
    shown = table[[click for click in table.columns if clicks is None or click in clicks]]
    return shown.melt(var_name="click", value_name="iou", ignore_index=False).reset_index()


def clustered_means(
    values: np.ndarray, clusters: np.ndarray, repeats: int = 1000, seed: int = 0
) -> np.ndarray:
    """Means of `repeats` bootstrap samples that draw whole clusters (patients) with replacement.

    values: objects x clicks; NaN is left out. clusters: one label per object, because objects of
    one patient are not independent. Returns repeats x clicks. One cluster gives the mean itself,
    again and again.

    >>> clustered_means(np.array([[0.2], [0.4]]), np.array(["p", "p"]), repeats=2).round(2).tolist()
    [[0.3], [0.3]]
    """
    totals, counts = _cluster_sums(values, clusters)
    draws = _draws(len(totals), repeats, seed)
    with np.errstate(
        invalid="ignore"
    ):  # a sample may hold no known value: 0 / 0 is NaN, left out below
        return (draws @ totals) / (draws @ counts)


def _cluster_sums(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the known values of each cluster: clusters x clicks, twice."""
    labels, cluster = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    known = np.isfinite(values)
    totals, counts = np.zeros((2, len(labels), values.shape[1]))
    np.add.at(totals, cluster, np.where(known, values, 0))
    np.add.at(counts, cluster, known)
    return totals, counts


def _draws(clusters: int, repeats: int, seed: int) -> np.ndarray:
    """How often each cluster is in each bootstrap sample: repeats x clusters."""
    return np.random.default_rng(seed).multinomial(
        clusters, np.full(clusters, 1 / clusters), repeats
    )


def interval(
    values: np.ndarray,
    clusters: np.ndarray,
    repeats: int = 1000,
    seed: int = 0,
    within: tuple[float, float] = (0.0, 1.0),
) -> np.ndarray:
    """Lower and upper end of the patient-clustered 95 % bootstrap interval of the mean: 2 x clicks.

    values, clusters: as in `clustered_means`. within: the least and the largest value that there
    can be; the interval is cut there. NaN with fewer than FEWEST patients.

    Bootstrap-t (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 12): each
    sample's mean is measured in its own standard error, that of a ratio of sums over patients.
    Simulated with 1 to 20 objects a patient, it covers 93 to 97 % from 10 patients on and 91 to 97
    % below (percentiles of the means need 40 patients for that); up to 98.5 % if patients are few
    and their IoUs spread over all of 0..1. If 15 % of the patients fail altogether, a small sample
    may hold none of them: 78 to 92 % with 10 patients, 95 to 98 % with 25.

    >>> interval(np.array([[0.2], [0.4]]), np.array(["p", "p"])).tolist()
    [[nan], [nan]]
    """
    totals, counts = _cluster_sums(values, clusters)
    ends = np.full((2, values.shape[1]), np.nan)
    enough = (counts > 0).sum(axis=0) >= FEWEST
    if not enough.any():
        return ends
    totals, counts = totals[:, enough], counts[:, enough]
    means = totals.sum(axis=0) / counts.sum(axis=0)
    residuals = totals - means * counts
    draws = _draws(len(totals), repeats, seed)
    with np.errstate(invalid="ignore"):
        drawn = draws @ counts
        shifts = (draws @ residuals) / drawn  # of each sample's mean from the mean
        squares = draws @ residuals**2 - 2 * shifts * (draws @ (residuals * counts))
        squares += shifts**2 * (draws @ counts**2)
        errors = np.sqrt(squares.clip(min=0)) / drawn
    error = np.sqrt((residuals**2).sum(axis=0)) / counts.sum(axis=0)
    # A sample that drew patients who are nearly alike has next to no error, and its shift would
    # count without limit. Not less than a quarter of the whole error keeps the coverage and spares
    # much width.
    scaled = shifts / np.maximum(errors, np.maximum(error / 4, 1e-12))
    scaled = np.nanpercentile(scaled, [97.5, 2.5], axis=0)
    ends[:, enough] = np.clip(means - scaled * error, *within)
    return ends


def means(
    table: pd.DataFrame,
    by: Sequence[str],
    value: str = "iou",
    beside: Sequence[str] = (),
    within: tuple[float, float] = (0.0, 1.0),
) -> pd.DataFrame:
    """Mean of a column over the lines of each group, with its 95 % interval.

    table: a line per object, with its patient_id. by: columns that tell the groups apart; they keep
    their order. beside: columns of which the mean alone is wanted. within: as for `interval`.
    Columns: those of `by`, value, low, high, objects, patients, and those of `beside`. Lines
    without a value are left out.

    >>> patients = list("pqp")
    >>> table = pd.DataFrame({"way": list("aab"), "iou": [0.25, 0.75, 1.0], "patient_id": patients})
    >>> means(table, ["way"])[["way", "iou", "objects", "patients"]].values.tolist()
    [['a', 0.5, 2, 2], ['b', 1.0, 1, 1]]
    """
    lines = []
    for key, group_rows in table.groupby(list(by), sort=False):
        known = group_rows[group_rows[value].notna()]
        low, high = interval(
            known[[value]].to_numpy(), known["patient_id"].to_numpy(), within=within
        )[:, 0]
        line = dict(zip(by, key, strict=True)) | {
            value: known[value].mean(),
            "low": low,
            "high": high,
        }
        line |= {"objects": len(known), "patients": known["patient_id"].nunique()}
        lines.append(line | group_rows[list(beside)].mean().to_dict())
    return pd.DataFrame(lines)


def mean_over_tasks(
    table: pd.DataFrame, value: str = "iou", within: tuple[float, float] = (0.0, 1.0)
) -> pd.Series:
    """Mean of a column over tasks, every task weighing the same, with its 95 % interval.

    table: a line per object, with task and patient_id. Patients of two datasets are never one.
    Objects without a value are left out. The interval resamples patients; the tasks stay as they
    are, because they were chosen, not drawn. Index: value, low, high, objects, patients, tasks.

    >>> table = pd.DataFrame({"task": list("TTU"), "iou": [0.25, 0.75, 1.0], "patient_id": "p"})
    >>> mean_over_tasks(table)[["iou", "objects", "patients", "tasks"]].tolist()
    [0.75, 3.0, 2.0, 2.0]
    """
    known = table[table[value].notna()]
    tasks = known["task"].nunique()
    weights, patients = weights_and_patients(known)
    weighted = (known[value] * weights).to_numpy(float)[:, None]
    ends = interval(weighted, patients.to_numpy(), within=within)[:, 0] if tasks else [np.nan] * 2
    numbers = {value: weighted.mean() if tasks else np.nan, "low": ends[0], "high": ends[1]}
    numbers |= {"objects": len(known), "patients": patients.nunique(), "tasks": tasks}
    return pd.Series(numbers)


def weights_and_patients(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return what makes a mean over objects one over tasks, and the patients with their datasets.

    table: a line per object, with task and patient_id. A weight is 1 where all tasks have equally
    many objects, and 1 on average.

    >>> table = pd.DataFrame({"task": ["D: a", "D: a", "E"], "patient_id": "p"})
    >>> [column.tolist() for column in weights_and_patients(table)]
    [[0.75, 0.75, 1.5], ['D/p', 'D/p', 'E/p']]
    """
    objects = table.groupby("task")["task"].transform("size")
    weights = len(table) / (table["task"].nunique() * objects)
    return weights, table["task"].str.split(":").str[0] + "/" + table["patient_id"].astype(str)


def mean_curves(rows: pd.DataFrame, value: str = "iou") -> pd.DataFrame:
    """Mean IoU over the images of each task after each click, with its 95 % interval.

    value: another column of the rows instead, such as "nsd@2". Columns: task, model, level, click,
    iou (or the other), low, high, objects, patients. A mean never crosses tasks, models or levels.
    An undefined value (both masks empty) is left out.
    """
    curves = []
    most = float("inf") if value == "hd95" else 1.0
    for key, table in iou_by_click(rows, value).groupby(GROUP, sort=False):
        low, high = interval(table.to_numpy(), patient_ids(table), within=(0.0, most))
        curve = {"click": table.columns, value: table.mean().to_numpy(), "low": low, "high": high}
        curve |= {"objects": table.count().to_numpy(), "patients": len(set(patient_ids(table)))}
        curves.append(pd.DataFrame(curve).assign(**dict(zip(GROUP, key, strict=True))))
    columns = [*GROUP, "click", value, "low", "high", "objects", "patients"]
    if not curves:
        return pd.DataFrame(columns=columns)
    return pd.concat(curves, ignore_index=True)[columns]


def patient_ids(table: pd.DataFrame) -> np.ndarray:
    """Patient of each object of a table that is indexed as `iou_by_click`."""
    return table.index.get_level_values("patient_id").to_numpy()


def by_size(
    rows: pd.DataFrame, edges: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
) -> pd.DataFrame:
    """Compute mean curves by the part of the image that the object covers, in a column `size`.

    edges: shares of the image, 0..1, at which one bin ends and the next begins (it holds its upper
    end).

    >>> rows = pd.DataFrame({"task": "T", "model": "m", "level": "demo", "case_id": list("abc"),
    ...     "patient_id": list("abc"), "click": 1, "iou": [0.1, 0.5, 0.7],
    ...     "area_share": [0.001, 0.05, 0.1]})
    >>> by_size(rows)[["size", "iou", "objects"]].values.tolist()
    [['up to 0.3 %', 0.1, 1], ['3 to 10 %', 0.6, 2]]
    """
    return _curves_by(rows, size_bins(rows["area_share"], edges).rename("size"))


def size_bins(shares: pd.Series, edges: Sequence[float] = (0.003, 0.01, 0.03, 0.1)) -> pd.Series:
    """Return the bin of each share of an image, 0..1, as an ordered category.

    edges: where one bin ends and the next begins; a bin holds its upper end.

    >>> size_bins(pd.Series([0.001, 0.1])).tolist()
    ['up to 0.3 %', '3 to 10 %']
    """
    percent = [f"{edge * 100:g}" for edge in edges]
    labels = [
        f"up to {percent[0]} %",
        *(f"{a} to {b} %" for a, b in pairwise(percent)),
        f"above {percent[-1]} %",
    ]
    return pd.cut(shares, [0, *edges, 1], labels=labels)


def by_components(rows: pd.DataFrame, most: int = 4) -> pd.DataFrame:
    """Compute mean curves by the number of connected regions, in a column `components`.

    most: objects of so many regions or more are taken together.
    """
    labels = [*map(str, range(1, most)), f"{most} or more"]
    regions = rows["components"].clip(upper=most)
    return _curves_by(rows, pd.cut(regions, range(most + 1), labels=labels).rename("components"))


def _curves_by(rows: pd.DataFrame, bins: pd.Series) -> pd.DataFrame:
    """Mean curves of the objects of each bin, with the bin as first column."""
    parts = [
        mean_curves(bin_rows).assign(**{bins.name: name})
        for name, bin_rows in rows.groupby(bins, observed=True, sort=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    return table[[bins.name, *table.columns.drop(bins.name)]]


def clicks_to(ious: np.ndarray, target: float) -> tuple[np.ndarray, np.ndarray]:
    """Clicks until the IoU of each object first reaches `target`, and which objects never reach it.

    ious: objects x clicks. An object that never does counts as the number of clicks that were made.
    The first click that reaches it counts, even if a later one spoils the mask again.
    """
    reached = ious >= target
    missed = np.logical_not(reached.any(axis=1))
    return np.where(missed, ious.shape[1], reached.argmax(axis=1) + 1), missed


def noc(ious: np.ndarray, target: float) -> tuple[float, float]:
    """Return the mean of `clicks_to` and the share of objects that never reach the target.

    Either is only readable beside the other.

    >>> noc(np.array([[0.5, 0.8, 0.7], [0.1, 0.2, 0.3]]), target=0.8)
    (2.5, 0.5)
    >>> noc(np.empty((0, 3)), target=0.8)
    (nan, nan)
    """
    if not len(ious):
        return float("nan"), float("nan")
    clicks, missed = clicks_to(ious, target)
    return float(clicks.mean()), float(missed.mean())


def clicks_to_targets(
    rows: pd.DataFrame, targets: Sequence[float] = (0.8, 0.85, 0.9)
) -> pd.DataFrame:
    """Clicks of every object to each target IoU: a line per object and target.

    Columns: task, model, level, case_id, patient_id, target, clicks and missed, as `clicks_to`
    counts them. Objects whose IoU is undefined are left out.
    """
    table = iou_by_click(rows).dropna(how="all")
    parts = []
    for target in targets:
        clicks, missed = clicks_to(table.to_numpy(), target)
        objects = table.index.to_frame(index=False)
        parts.append(objects.assign(target=target, clicks=clicks, missed=missed))
    return pd.concat(parts).sort_index(kind="stable")  # all targets of an object together


def noc_table(rows: pd.DataFrame, targets: Sequence[float] = (0.8, 0.85, 0.9)) -> pd.DataFrame:
    """Compute the number of clicks to each target IoU, its 95 % interval, and the missed share.

    Columns: task, model, level, target, noc, low, high, objects, patients and missed (0..1).
    Objects whose IoU is undefined are left out.
    """
    most = rows["click"].max()
    table = means(
        clicks_to_targets(rows, targets), [*GROUP, "target"], "clicks", ["missed"], within=(1, most)
    )
    return table.rename(columns={"clicks": "noc"})


def summary(
    rows: pd.DataFrame, clicks: tuple[int, ...] = (1, 3, 5, 9), target: float = 0.8
) -> pd.DataFrame:
    """Summarise rows in one line per task and model.

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
        line[f"NoC@{target * 100:.0f}"], line["missed"] = noc(
            table.dropna(how="all").to_numpy(), target
        )
        lines.append(line)
    return pd.DataFrame(lines)


def worst(rows: pd.DataFrame, count: int = 3, click: int | None = None) -> pd.DataFrame:
    """Return the rows with the lowest IoU after a click, lowest first.

    count: how many for each task and model. click: None for the last one that was made. Objects
    whose IoU is undefined are left out; of equal ones the order of the rows decides.

    >>> rows = pd.DataFrame({"task": "T", "model": "m", "case_id": list("abc"), "click": 1,
    ...                      "iou": [0.9, 0.1, 0.5]})
    >>> worst(rows, 2)["case_id"].tolist()
    ['b', 'c']
    """
    chosen = rows[rows["click"] == (rows["click"].max() if click is None else click)]
    chosen = chosen.dropna(subset="iou").sort_values("iou", kind="stable")
    return chosen.groupby(["task", "model"], sort=False).head(count)


def at_percentiles(
    rows: pd.DataFrame, percentiles: tuple[int, ...] = (25, 50, 75)
) -> dict[int, tuple]:
    """Return the object at each percentile of the IoU after one click: (case_id, IoU).

    rows: of one task and one model. Nearest rank, so each is a real object; ties go in the order of
    the case names. Objects whose IoU is undefined are left out.

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
    return {
        p: (first["case_id"].iloc[i], float(first["iou"].iloc[i])) for p, i in positions.items()
    }
