"""Sentences of the study as claims (book/claims.yml), and what a table of IoU says of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from scipy.stats import nct, t

from .. import published
from ..comparison import ALPHA, holm, sign_flip_test
from ..statistics import FEWEST, interval, iou_by_click

FILE = published.FOLDER.parent / "claims.yml"
ROUNDED = 1e-3
"""How far a number of the preprint may be from the released tables, which are those of 2023."""
FLIPS = 19_999
"""Drawn flips of signs: a p that none reaches is below 0.01 when corrected for fifty tests."""
RARE = 4
"""Clusters on the rarer side that a share needs at its bound: signs of rarer ones scatter unevenly,
so that their flips would refuse too much."""
COLUMNS = [
    *("n", "section", "quote", "says", "claim", "wanted", "wanted_low", "wanted_high"),
    *("effect", "low", "high", "p", "tasks", "clusters", "error", "note"),
]


@dataclass(frozen=True)
class Claim:
    """A sentence of the study and what has to be true of the IoU if it is; fields: claims.yml."""

    section: str
    quote: str
    says: str
    effect: str
    tasks: str = ""
    against: str = ""
    without: str = ""
    spread: str = ""
    above: float = -np.inf
    below: float = np.inf
    expect: float = np.nan
    number: float = np.nan
    take: str = ""
    levels: Sequence[str] = ("published", "measured")

    @property
    def bounds(self) -> tuple[float, float]:
        """Return between which values the effect lies if the sentence is true."""
        if self.take:
            return self.number - ROUNDED, self.number + ROUNDED
        return self.above, self.below


def load_claims(file: Path = FILE) -> tuple[list[Claim], dict[str, list[str]]]:
    """Return the claims in the order of the study's text, and the groups of tasks by name."""
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [Claim(**entry) for entry in entries["claims"]], entries["groups"]


def published_table() -> pd.DataFrame:
    """Return the released numbers as `judge` takes them: a line per task.

    Columns: task, stratum, cluster, and SAM@1, RITM@1 ... A dataset's tasks are one cluster, as
    they share patients; no value of a patient was released.
    """
    table = published.click_table().pivot(index="task", columns=["method", "click"], values="iou")
    table.columns = [f"{method}@{click}" for method, click in table.columns]
    table = table.reset_index()
    datasets = table["task"].str.split(":").str[0]
    return table.assign(stratum="all tasks", cluster=datasets, case=datasets)


def measured_table(rows: pd.DataFrame, methods: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as `judge` takes them: a line per object of a real image.

    methods: "SAM" and "RITM" -> the model that stands for it. Columns: those of `published_table`,
    and several, whether the object has several regions; case, its image; stratum is the task and
    cluster the patient. Rows of phantoms are left out.
    """
    rows = rows[rows["level"] == "measured"]
    index = ["task", "case_id", "patient_id"]
    parts = [
        iou_by_click(rows[rows["model"] == model])
        .droplevel(["model", "level"])
        .rename(columns=f"{method}@{{}}".format)
        for method, model in methods.items()
        if (rows["model"] == model).any()
    ]
    if not parts:
        return pd.DataFrame(columns=["task", "stratum", "cluster", "case", "several"])
    regions = rows.groupby(index)["components"].first()
    table = pd.concat(parts, axis="columns").join(regions).reset_index()
    datasets = table["task"].str.split(":").str[0] + "/"
    return table.assign(
        stratum=table["task"],
        cluster=datasets + table["patient_id"].astype(str),
        case=datasets + table["case_id"],
        several=table["components"] > 1,
    )


def judge(
    claims: Sequence[Claim],
    table: pd.DataFrame,
    groups: Mapping[str, Sequence[str]],
    resamples: int = FLIPS,
) -> pd.DataFrame:
    """Test each claim on a table and return a line for each that can be computed on it.

    table: of `published_table` or `measured_table`. Columns: n (of the sentence), section,
    quote, says, wanted (where the effect lies if the sentence is true, with the ends wanted_low and
    wanted_high), effect, its 95 % interval low and high, tasks,
    clusters (patients, or datasets), p, p_holm and below (as in `comparison.compare`), power,
    verdict, note.

    A claim is **supported** if the effect lies within its bounds and the test refuses that it is at
    the nearer one or beyond; **refuted** if it lies outside and the test refuses that it is at the
    bound; otherwise undetermined. The test flips the signs of whole clusters; p is corrected by
    Holm's method for all tests of the table. Strata of fewer than FEWEST clusters are left out
    where others remain. Not tested are effects of too few clusters, and shares of what is too rare.
    A number of the study is compared, not tested.
    resamples: flips of signs that are drawn where not all are tried; 0 computes effects alone.
    power: the probability that the claim would be supported if the effect were as large as the
    entry expects, by the t distribution, at the level that is left for each of so many tests.
    """
    lines = []
    for n, claim in enumerate(claims, 1):
        found = _estimate(claim, table, groups, resamples)
        if found is not None:
            lines.append({name: getattr(claim, name) for name in ("section", "quote", "says")})
            low, high = (np.nan, np.nan) if claim.take else claim.bounds
            wanted = {"wanted": _wanted(claim), "wanted_low": low, "wanted_high": high}
            lines[-1] |= {"n": n, "claim": claim, **wanted, **found}
    result = pd.DataFrame(lines, columns=COLUMNS)
    result["p_holm"] = holm(result["p"].to_numpy(float))
    drawn = 2.0 ** result["clusters"].astype(float) > resamples
    result["below"] = drawn & (result["p"] <= 2.5 / max(resamples, 1))
    tests = max(int(result["p"].notna().sum()), 1)
    result["power"] = [
        _power(line.claim, line.error, line.clusters, tests) for line in result.itertuples()
    ]
    result["verdict"] = [_verdict(*line) for line in result[["claim", "effect", "p_holm"]].values]
    return result.drop(columns=["claim", "error"])


def _estimate(
    claim: Claim, table: pd.DataFrame, groups: Mapping[str, Sequence[str]], resamples: int
) -> dict | None:
    """Return the effect of a claim with its interval and p; None where the table has no value."""
    level = "measured" if "several" in table else "published"
    if level not in claim.levels or (claim.take and level == "measured"):
        return None
    columns = re.findall(r"\w+@\d+", claim.effect)
    if not set(columns) <= set(table):
        return None
    table = table.dropna(subset=columns)
    values = table.eval(re.sub(r"(\w+@\d+)", r"`\1`", claim.effect), engine="python").astype(float)
    table = table.assign(value=values)
    inside = _members(claim.tasks, table, groups)
    outside = _members(claim.against, table, groups) & ~inside
    inside &= ~_members(claim.without, table, groups) if claim.without else True
    if claim.spread:
        by = {"classes": "case", "tasks": "stratum", "cases": "task"}[claim.spread]
        several = table.groupby(by)["value"].transform("size") > 1
        table["value"] = (values - table.groupby(by)["value"].transform("mean")).abs()
        inside &= several
    parts = [table[inside], table[outside]] if claim.against else [table[inside]]
    if not all(len(part) for part in parts):
        return None
    parts, left_out = _large(parts)
    counted = {"tasks": pd.concat(parts)["task"].nunique()}
    if claim.take:
        at = parts[0]["value"].agg([f"idx{claim.take}"]).iloc[0]
        effect, note = table["value"][at], f"{table['task'][at]}; compared, not tested"
        unknown = dict.fromkeys(("low", "high", "p", "error"), np.nan)
        return counted | unknown | {"effect": effect, "clusters": 0, "note": note}
    found = counted | _test(claim, parts, resamples)
    if left_out and not found["note"]:
        found["note"] = f"without {', '.join(left_out)}: too few patients"
    return found


def _members(name: str, table: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> pd.Series:
    """Return which lines are of a group of tasks, of one task, or ("" and "others") any."""
    if name in ("", "others"):
        return pd.Series(True, index=table.index)
    if name == "several regions" and "several" in table:
        return table["several"]
    names = groups.get(name, [name])
    return table["task"].isin(names) | table["task"].str.split(":").str[0].isin(names)


def _large(parts: Sequence[pd.DataFrame]) -> tuple[Sequence[pd.DataFrame], list[str]]:
    """Return the strata of enough clusters, where each part has one, and the others' names."""
    enough = [
        part[part.groupby("stratum")["cluster"].transform("nunique") >= FEWEST] for part in parts
    ]
    if not all(len(part) for part in enough):
        return parts, []
    names = {
        name
        for part, kept in zip(parts, enough, strict=True)
        for name in set(part["stratum"]) - set(kept["stratum"])
    }
    return enough, sorted(names)


def _test(claim: Claim, parts: Sequence[pd.DataFrame], resamples: int) -> dict:
    """Return the mean of the first part, minus that of the second, and what is known of it.

    Every stratum weighs the same. Each line becomes the effect plus its own influence on it, so
    that the mean of all lines is the effect, and a cluster's sum tells how far it pulls.
    """
    effect, pseudo, clusters, fewest = 0.0, [], [], []
    lines = sum(map(len, parts))
    for part, sign in zip(parts, (1, -1), strict=False):
        strata = part.groupby("stratum")["value"]
        sizes, means = strata.transform("size"), strata.transform("mean")
        weights = 1 / (sizes * strata.ngroups)
        patients = part.groupby("stratum")["cluster"].transform("nunique")
        fewest.append(int(patients.min()))
        residuals = (part["value"] - means) * np.sqrt(patients / (patients - 1).clip(lower=1))
        effect += sign * (weights * part["value"]).sum()
        pseudo.append(sign * lines * weights * residuals)
        clusters.append(part["cluster"])
    values = (effect + pd.concat(pseudo)).to_numpy()
    labels = pd.concat(clusters).to_numpy()
    count = len(set(labels))
    found = {"effect": effect, "clusters": count}
    unit = "patients" if "several" in parts[0] else "datasets"
    untested = ""
    if not resamples:
        untested = "not tested"
    elif min(fewest) < FEWEST or 2.0 ** (1 - count) >= ALPHA:
        untested = f"not tested: too few {unit} ({min(fewest)})"
    elif pd.concat(parts)["value"].isin([0, 1]).all() and count * _rarest(claim) < RARE:
        untested = f"not tested: too rare for {count} {unit}"
    if untested:
        unknown = dict.fromkeys(("low", "high", "p", "error"), np.nan)
        return found | unknown | {"note": untested}
    never_below_0 = not claim.against and (claim.spread or not re.search(r"\d - ", claim.effect))
    within = (0.0, 1.0) if never_below_0 or "abs" in claim.effect else (-2.0, 2.0)
    low, high = interval(values[:, None], labels, within=within)[:, 0]
    sums = pd.Series(values).groupby(labels)
    ends = [end for end in claim.bounds if np.isfinite(end)]
    # Inside, the effect must be told from each bound; outside, from the bound that it is beyond.
    low_end, high_end = claim.bounds
    beyond = [end for end in ends if effect <= end == low_end or effect >= end == high_end]
    p = max(
        sign_flip_test((sums.sum() - end * sums.size()).to_numpy()[:, None], resamples)[0]
        for end in beyond or ends
    )
    error = np.sqrt(((sums.sum() - effect * sums.size()) ** 2).sum()) / lines
    return found | {"low": low, "high": high, "p": p, "error": error, "note": ""}


def _rarest(claim: Claim) -> float:
    """Return the smaller share that a claim about a share leaves on a side of its bounds."""
    return min(min(end, 1 - end) for end in claim.bounds if np.isfinite(end))


def _within(effect: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] < effect < bounds[1]


def _verdict(claim: Claim, effect: float, p: float) -> str:
    """Return supported, refuted or undetermined."""
    if not claim.take and not p < ALPHA:
        return "undetermined"
    return "supported" if _within(effect, claim.bounds) else "refuted"


def _power(claim: Claim, error: float, clusters: int, tests: int) -> float:
    """Return how likely the claim would be supported if the effect were as the entry expects."""
    if not np.isfinite(error) or np.isnan(claim.expect):
        return np.nan
    if not error:
        return 1.0
    free = clusters - 1
    critical = t.ppf(1 - ALPHA / tests / 2, free)
    gaps = (claim.expect - claim.above, claim.below - claim.expect)
    missed = sum(nct.cdf(critical, free, gap / error) for gap in gaps if np.isfinite(gap))
    return float(max(0.0, 1 - missed))


def _wanted(claim: Claim) -> str:
    """Return where the effect lies if the sentence is true, in words.

    >>> _wanted(Claim("3", "", "", "SAM@1", above=0.1))
    'above 0.1'
    >>> _wanted(Claim("3", "", "", "SAM@1", take="min", number=0.5))
    '0.5000'
    """
    if claim.take:
        return f"{claim.number:.4f}"
    low, high = claim.bounds
    if np.isfinite(low) and np.isfinite(high):
        return f"{low:g} to {high:g}"
    return f"above {low:g}" if np.isfinite(low) else f"below {high:g}"
