"""Comparison of two sets of rows of the same objects: paired differences and their certainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, permutation_test, rankdata

from .case import Case
from .datasets import Dataset
from .metrics import dice, iou
from .statistics import (
    FEWEST,
    GROUP,
    by_object,
    clustered_means,
    iou_by_click,
    means,
    patient_ids,
    weights_and_patients,
)

ALPHA = 0.05
"""Level of significance: a test that can never reach it is not made."""
FLIPS = 99_999
"""Drawn flips of signs; all are tried where there are fewer."""
CHANGE = ["difference", "difference low", "difference high"]
"""Columns of `compare_ways`: a mean paired difference and its 95 % interval."""


def paired_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """IoU of `second` minus that of `first` for each object that both have: objects x clicks.

    first, second: rows that differ in one thing, such as the model or a field of the protocol.
    The index holds task, level, case_id and patient_id, so demo and measured rows are never paired.
    Raises ValueError if they have no object in common.
    """
    tables = (iou_by_click(rows).reset_index("model", drop=True) for rows in (first, second))
    first_ious, second_ious = next(tables).align(next(tables), join="inner")
    if first_ious.empty:
        raise ValueError(
            "no task, level and case is in both tables: nothing can be compared in pairs"
        )
    return second_ious - first_ious


def compare(
    first: pd.DataFrame, second: pd.DataFrame, clicks: Sequence[int] | None = None
) -> pd.DataFrame:
    """Compute the mean paired difference of IoU, second minus first, and test it.

    clicks: those that are wanted, None for all. Columns: compared, such as "ritm minus sam"; task,
    level, click, difference, its 95 % interval low and high, objects, patients, p, p_holm,
    corrected for the tests of the table, and below: whether p is a bound, because no drawn flip of
    signs was as extreme; note: why interval and test differ, where they do. Where even equal signs
    of all patients give no p below ALPHA, nothing is tested: p and p_holm are NaN, and they count
    in no correction.

    The test is `sign_flip_test` of the patients' sums, because it asks about the very mean that is
    shown and takes slices of one patient as one observation; Wilcoxon's would ask about the
    patients' medians.
    """
    parts = []
    for _, table in paired_differences(first, second).groupby(["task", "level"], sort=False):
        table = table[[click for click in table if clicks is None or click in clicks]]
        differences = table.melt(
            var_name="click", value_name="difference", ignore_index=False
        ).reset_index()
        part = means(differences, ["task", "level", "click"], "difference", within=(-1, 1))
        patients = table.groupby(patient_ids(table)).sum().to_numpy()
        testable = 2.0 ** (1 - len(patients)) < ALPHA
        parts.append(part.assign(p=sign_flip_test(patients) if testable else np.nan))
    result = pd.concat(parts, ignore_index=True)
    drawn = 2.0 ** result["patients"] > FLIPS
    below = drawn & (result["p"] <= 2.5 / FLIPS)
    result = result.assign(p_holm=holm(result["p"].to_numpy()), below=below)
    result.insert(0, "compared", " minus ".join(_names(second, first)))
    tests = int(result["p"].notna().sum())
    return result.assign(note=[_note(line, tests) for line in result.itertuples()])


def _names(*tables: pd.DataFrame) -> list[str]:
    """Return what tells tables of rows apart: their models, else their protocols."""
    for column in ("model", "protocol"):
        names = ["/".join(rows[column].unique()) if column in rows else "" for rows in tables]
        if len(set(names)) == len(names) and all(names):
            return names
    return ["second", "first"]


def _note(line: Any, tests: int) -> str:
    """Return why the interval and the corrected test of a line do not say the same."""
    if np.isnan(line.p):
        return f"not tested: {line.patients} patients are too few for any p below {ALPHA}"
    interval, test = line.low > 0 or line.high < 0, line.p_holm < ALPHA
    if interval and not test:
        if line.p < ALPHA:
            return f"the interval is of this line alone, p is corrected for {tests} tests"
        return f"the interval excludes 0 narrowly, the test of {line.patients} patients does not"
    if test and not interval:
        return f"the interval of {line.patients} patients is wide, the signs of all agree"
    return ""


def compare_ways(
    table: pd.DataFrame, base: str, by: Sequence[str], way: str = "way", value: str = "iou"
) -> pd.DataFrame:
    """Compute the mean of every way, and its mean paired difference to the way `base`.

    table: a line per object and way, with case_id and patient_id. by: what else tells means apart,
    such as task and level. Columns: those of `statistics.means` by these and the way; then
    difference, difference low and difference high, over the objects that the base has too. A way
    that shares none with it is left out.
    """
    keys, objects = [*by, way], [*by, "case_id", "patient_id"]
    first = table.loc[table[way] == base, [*objects, value]].rename(columns={value: "of base"})
    pairs = table.merge(first, on=objects)
    pairs["difference"] = pairs[value] - pairs["of base"]
    changes = means(pairs, keys, "difference", within=(-1, 1)).drop(columns=["objects", "patients"])
    changes = changes.rename(columns={"low": "difference low", "high": "difference high"})
    return means(table, keys, value).merge(changes, on=keys)


def run_differences(
    runs: Mapping[str, pd.DataFrame],
    base: str,
    way: str = "way",
    clicks: Sequence[int] | None = (1, 3, 9),
) -> pd.DataFrame:
    """Return the mean paired difference of IoU between every run and the run `base`.

    runs: rows by the name of the run, which differ in one thing such as the protocol. way: the
    column that names the run. clicks: after which, None for all. Columns: those of `compare_ways`
    by task, model, level and click; the lines of the base itself are left out.
    """
    objects = [by_object(rows, clicks).assign(**{way: name}) for name, rows in runs.items()]
    table = compare_ways(pd.concat(objects), base, [*GROUP, "click"], way)
    return table[table[way] != base]


def rank_agreement(
    runs: Mapping[str, pd.DataFrame], base: str, way: str = "way", repeats: int = 1000
) -> pd.DataFrame:
    """Return how far every run ranks the models as the run `base` does: Kendall's tau.

    runs: rows by the name of the run, which differ in one thing such as the protocol; of a model
    that a run lacks, the base's rows count. way: the column that names the run. Models are ranked
    by their mean IoU after the last click, every task weighing the same, over the objects that all
    models have in both runs. tau (tau-b) is 1 for the same order, -1 for the reverse, and the share
    of pairs of models in the same order less that of those in another. Its 95 % interval, low and
    high: percentiles of bootstrap samples of patients, drawn alike for all models and both runs;
    NaN below FEWEST patients. Where all models tie there is no order: NaN. Further columns: level,
    ranking (best first), models, objects, patients. The base has a line too; a level with one
    model has none.
    """
    lines = []
    for name, rows in runs.items():
        for level, of_base in _final_by_model(runs[base]).groupby("level"):
            of_run = _final_by_model(rows).query("level == @level")
            of_run = of_run.join(of_base[of_base.columns.difference(of_run.columns)])
            models = list(of_base.columns[of_base.notna().any()])
            both = pd.concat([of_base[models], of_run[models]], axis=1, join="inner").dropna()
            if len(models) < 2 or both.empty:
                continue
            weights, patients = weights_and_patients(both.index.to_frame(index=False))
            weighted = both.to_numpy() * weights.to_numpy()[:, None]
            means = weighted.mean(axis=0)
            line = {"level": level, way: name, "tau": _taus(means[None])[0]}
            taus = _taus(clustered_means(weighted, patients.to_numpy(), repeats))
            known = taus[np.isfinite(taus)]
            if patients.nunique() >= FEWEST and len(known):
                ends = np.quantile(known, [0.025, 0.975], method="inverted_cdf").tolist()
            else:
                ends = [np.nan] * 2
            line |= dict(zip(("low", "high"), ends, strict=True))
            order = np.argsort(-means[len(models) :], kind="stable")
            line["ranking"] = ", ".join(models[i] for i in order)
            counts = {"objects": len(both), "patients": patients.nunique()}
            lines.append(line | {"models": len(models)} | counts)
    return pd.DataFrame(lines)


def _final_by_model(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the IoU of each object after the last click: a line per object, a column per model."""
    ious = iou_by_click(rows)
    return ious[ious.columns[-1]].unstack("model", sort=False)


def _taus(means: np.ndarray) -> np.ndarray:
    """Return Kendall's tau between the first and the second half of the columns of each line."""
    ranks = np.hstack([rankdata(half, axis=1) for half in np.split(means, 2, axis=1)])
    orders, line = np.unique(ranks, axis=0, return_inverse=True)  # few, and each tau takes 1 ms
    taus = [kendalltau(*np.split(order, 2)).statistic for order in orders]
    return np.array(taus)[line.reshape(-1)]


_SCORES = {"iou": iou, "dice": dice}


def score_masks(
    dataset: Dataset, cases: Sequence[Case], ways: Mapping[str, Sequence[Mapping[str, np.ndarray]]]
) -> pd.DataFrame:
    """Rows of masks that no one prompted: one per way, case and class that is in the image.

    ways: name -> masks by class, bool H x W, of every case. Columns: task, level, way, case_id,
    patient_id, iou and dice.
    """
    return pd.DataFrame(
        {"task": dataset.tasks[name], "level": dataset.level, "way": way}
        | {"case_id": case.case_id, "patient_id": case.patient_id}
        | {what: score(case.scored(masks[name]), truth) for what, score in _SCORES.items()}
        for way, found in ways.items()
        for case, masks in zip(cases, found, strict=True)
        for name, truth in case.masks.items()
        if truth.any() and name in masks
    )


def sign_flip_test(differences: np.ndarray, resamples: int = FLIPS) -> np.ndarray:
    """Compute two-sided p values that paired differences scatter about 0 evenly.

    differences: patients x clicks; one p per click is returned.

    Under the null hypothesis each patient's difference could as well have the other sign. All signs
    are tried where they are at most `resamples`, else so many at random from a fixed seed. With one
    patient either sign is as extreme: p is 1.

    >>> sign_flip_test(np.array([[0.1], [0.2], [0.3]])).tolist()  # 2 of 8 signs are as extreme
    [0.25]
    """
    if len(differences) == 1:
        return np.ones(differences.shape[1])
    return np.array(
        [
            permutation_test(
                (click_differences,),
                np.sum,
                permutation_type="samples",
                n_resamples=resamples,
                batch=1000,
                random_state=0,
            ).pvalue
            for click_differences in differences.T
        ]
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of p values for as many tests as there are (1979).

    NaN is no test: it stays NaN and is not counted.

    >>> holm(np.array([0.01, 0.04, 0.03, 0.005])).round(3).tolist()
    [0.03, 0.06, 0.06, 0.02]
    """
    tests = np.isfinite(p).sum()
    order = np.argsort(p)[:tests]  # NaN comes last
    corrected = np.full(len(p), np.nan)
    steps = np.arange(tests, 0, -1) * p[order]
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def overtaken_at(differences: np.ndarray) -> np.ndarray:
    """Return the first click after which a mean difference is above 0, infinite if there is none.

    differences: ... x clicks; the result has the shape without the last axis.

    >>> overtaken_at(np.array([[-0.2, -0.1, 0.1], [-0.3, -0.2, -0.1], [0.1, 0.2, -0.1]])).tolist()
    [3.0, inf, 1.0]
    """
    ahead = np.asarray(differences) > 0
    return np.where(ahead.any(axis=-1), ahead.argmax(axis=-1) + 1.0, np.inf)


def crossings(first: pd.DataFrame, second: pd.DataFrame, repeats: int = 1000) -> pd.DataFrame:
    """The click at which the two mean curves of a task have changed places for the first time.

    Columns: task, level, ahead (which leads after one click: "first" or "second"), click (of the
    change; infinite: none with the clicks that were made), its 95 % interval low and high, and
    never: the share of bootstrap samples without a change. Percentiles of samples that draw
    patients, where no change counts as infinite and a sample in which the other leads from the
    start as 1; NaN below FEWEST patients.
    """
    lines = []
    for (task, level), table in paired_differences(first, second).groupby(
        ["task", "level"], sort=False
    ):
        patients = patient_ids(table)
        mean = table.mean().to_numpy()
        turn = -1 if mean[0] > 0 else 1
        clicks = overtaken_at(turn * clustered_means(table.to_numpy(), patients, repeats))
        line = {"task": task, "level": level, "ahead": "first" if turn == 1 else "second"}
        line["click"] = float(overtaken_at(turn * mean))
        ends = np.quantile(clicks, [0.025, 0.975], method="inverted_cdf")
        few = len(set(patients)) < FEWEST
        line |= dict(zip(("low", "high"), [np.nan] * 2 if few else ends, strict=True))
        lines.append(line | {"never": np.isinf(clicks).mean()})
    return pd.DataFrame(lines)


def seed_spread(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Compute how much the random choice among tied click positions matters.

    runs: one table of rows for each seed, everything else equal. Columns: task, model, level,
    click, seeds, objects; tied (share of objects that had a choice at this click or before, in any
    run); object_sd (mean over objects of the standard deviation between seeds); lowest, highest and
    mean_sd (of the task's mean IoU between seeds). Objects that not all runs have are left out.
    Raises ValueError for fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError(
            f"the spread between seeds needs rows of two seeds or more, not of {len(runs)}"
        )
    ious = pd.concat([iou_by_click(rows) for rows in runs], keys=range(len(runs)), names=["seed"])
    objects = [*GROUP, "case_id", "patient_id"]
    ious = ious.groupby(objects, sort=False).filter(lambda seeds: len(seeds) == len(runs))
    tied = pd.concat(rows.assign(tied=rows["ties"] > 1) for rows in runs)
    tied = tied.groupby([*objects, "click"], sort=False)["tied"].any().unstack("click")
    tied = tied.fillna(False).cummax(axis="columns")
    parts = []
    for key, table in ious.groupby(GROUP, sort=False):
        seed_means = table.groupby("seed").mean()
        object_seeds = table.groupby(objects, sort=False)
        part = {"click": table.columns, "seeds": len(runs), "objects": object_seeds.ngroups}
        part |= {"tied": tied.loc[object_seeds.first().index].mean().to_numpy()}
        part |= {
            "object_sd": object_seeds.std().mean().to_numpy(),
            "lowest": seed_means.min().to_numpy(),
        }
        part |= {"highest": seed_means.max().to_numpy(), "mean_sd": seed_means.std().to_numpy()}
        parts.append(pd.DataFrame(part).assign(**dict(zip(GROUP, key, strict=True))))
    table = pd.concat(parts, ignore_index=True)
    return table[[*GROUP, *table.columns.drop(GROUP)]]
