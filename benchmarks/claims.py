"""How often the page of claims gives a wrong verdict, on drawn tables whose truth is known.

    python benchmarks/claims.py [--truths 500] [--resamples 4999] [--keep results/claims.csv]

Each truth is a population: means of tasks, spread between datasets, patients and objects, gains by
clicks, and what several regions cost, all drawn anew. Its claims are true or false by the effects
in a large sample of it; `judge` then sees a small one. A verdict is wrong if it supports what is
false or refutes what is true. Half of the tables look like the released numbers, half like a run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from report import write

from medsam_utils.book.claims import Claim, judge, load_claims, published_table

CLICKS = np.arange(1, 10)
LARGE = 100  # patients of a task, or copies of the released table, from which the truth is known


def draw_truth(rng: np.random.Generator) -> dict[str, float]:
    """Return the parameters of a population."""
    return {
        "first": rng.uniform(0.2, 0.85),
        "lead": rng.choice([0, rng.uniform(-0.4, 0.5)]),  # of SAM with one click
        "gain": rng.choice([0, rng.uniform(-0.1, 0.4)]),  # of SAM from one click to nine
        "catch": rng.choice([0, rng.uniform(-0.2, 0.5)]),  # of RITM, in addition
        "regions": rng.choice([0, rng.uniform(-0.3, 0.2)]),  # of several regions, with one click
        "regions_gain": rng.choice([0, rng.uniform(-0.2, 0.3)]),
        "tumours": rng.choice([0, rng.uniform(-0.4, 0.2)]),
        "of_tasks": rng.uniform(0, 0.2),
        "of_patients": rng.uniform(0.02, 0.2),
        "of_objects": rng.uniform(0.02, 0.15),
    }


def ious(lines: pd.DataFrame, truth: dict[str, float], rng: np.random.Generator) -> pd.DataFrame:
    """Return a table as `judge` takes it. lines: with task, cluster, case, shift, regions, tumour.

    shift: of the task. The same patient is as easy or hard for both methods, in part.
    """
    steps = np.log(CLICKS) / np.log(9)
    patients, patient = np.unique(lines["cluster"], return_inverse=True)
    start = truth["first"] + lines["shift"] + truth["tumours"] * lines["tumour"]
    start = (start + truth["regions"] * lines["regions"]).to_numpy()[:, None]
    gain = (truth["gain"] + truth["regions_gain"] * lines["regions"]).to_numpy()[:, None] * steps
    shared = rng.normal(0, truth["of_patients"], len(patients))[patient][:, None]
    curves = {
        "SAM": start + gain,
        "RITM": start - truth["lead"] + gain + truth["catch"] * steps,
    }
    for method, curve in curves.items():
        own = rng.normal(0, truth["of_patients"] / 2, (len(patients), len(CLICKS)))[patient]
        noise = rng.normal(0, truth["of_objects"], curve.shape)
        names = [f"{method}@{click}" for click in CLICKS]
        values = np.clip(curve + shared + own + noise, 0, 1)
        lines = lines.assign(**dict(zip(names, values.T, strict=True)))
    return lines


def run_lines(tasks: pd.DataFrame, patients: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Return the objects of a run: some of each patient, several classes in an image."""
    parts = []
    for task, count in zip(tasks.itertuples(), patients, strict=True):
        patient = np.repeat(np.arange(count), rng.integers(1, 6, count))
        names = [f"{task.dataset}/{number}" for number in patient]
        part = pd.DataFrame({"task": task.task, "cluster": names, "shift": task.shift})
        part["case"] = part["cluster"] + "/" + part.groupby("cluster").cumcount().astype(str)
        parts.append(part.assign(tumour=False, several=rng.random(len(part)) < 0.4))
    lines = pd.concat(parts, ignore_index=True)
    return lines.assign(stratum=lines["task"], regions=lines["several"])


def study_lines(
    truth: dict[str, float], groups: dict, copies: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the tasks of the released table, each copy with datasets of its own."""
    table = published_table()[["task", "cluster", "stratum"]]

    def member(group: str) -> pd.Series:
        return table["task"].isin(groups[group]) | table["cluster"].isin(groups[group])

    table = table.assign(tumour=member("tumours"), regions=member("several regions"))
    lines = pd.concat([table] * copies, ignore_index=True)
    copy = np.repeat(np.arange(copies), len(table)).astype(str)
    lines["cluster"] = lines["cluster"] + "/" + copy
    shift = rng.normal(0, truth["of_tasks"], len(lines))
    return lines.assign(case=lines["cluster"], shift=shift)


def verdicts(seed: int, resamples: int, claims: list[Claim], groups: dict) -> pd.DataFrame:
    """Return the verdicts on one drawn truth, and what is true of it."""
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng)
    if seed % 2:
        small, large = (
            ious(study_lines(truth, groups, copies, rng), truth, rng) for copies in (1, LARGE)
        )
    else:
        datasets = [f"D{i // 2}" for i in range(rng.integers(2, 8))]
        tasks = pd.DataFrame({"task": [f"{d}: {i}" for i, d in enumerate(datasets)]})
        shifts = rng.normal(0, truth["of_tasks"], len(tasks))
        tasks = tasks.assign(dataset=datasets, shift=shifts)
        counts = rng.integers(6, 30, len(tasks))
        small, large = (
            ious(run_lines(tasks, patients, rng), truth, rng)
            for patients in (counts, np.full(len(tasks), LARGE))
        )
    tested = [claim for claim in claims if not claim.take]
    found = judge(tested, small, groups, resamples)
    found = found[~found["note"].str.startswith("without")]  # of other tasks than the truth
    known = judge(tested, large, groups, resamples=0)  # its effects are the truth
    table = found.merge(known[["n", "effect"]], on="n", suffixes=("", "_true"))
    is_true = (table["effect_true"] > table["wanted_low"]) & (
        table["effect_true"] < table["wanted_high"]
    )
    columns = ["n", "verdict", "power", "effect", "effect_true"]
    return table[columns].assign(
        true=is_true, seed=seed, kind="released" if seed % 2 else "run", tested=table["p"].notna()
    )


def wrong(table: pd.DataFrame) -> pd.Series:
    """Return which verdicts are wrong."""
    supported, refuted = table["verdict"] == "supported", table["verdict"] == "refuted"
    return (supported & ~table["true"]) | (refuted & table["true"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of wrong verdicts and of verdicts at all, by kind of table."""
    lines = []
    for kind, part in [*table.groupby("kind"), ("both", table)]:
        is_wrong = wrong(part)
        lines.append(
            {
                "tables": kind,
                "truths": part["seed"].nunique(),
                "verdicts": len(part),
                "supported": f"{(part['verdict'] == 'supported').mean():.1%}",
                "refuted": f"{(part['verdict'] == 'refuted').mean():.1%}",
                "wrong": f"{is_wrong.mean():.2%}",
                "truths with a wrong verdict": f"{is_wrong.groupby(part['seed']).any().mean():.1%}",
            }
        )
    return pd.DataFrame(lines)


def main() -> None:
    """Write the shares; verdicts are kept, so that an interrupted series goes on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truths", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=4999)
    parser.add_argument("--keep", type=Path, default=Path("results/claims.csv"))
    given = parser.parse_args()
    given.keep.parent.mkdir(parents=True, exist_ok=True)
    claims, groups = load_claims()
    kept = pd.read_csv(given.keep) if given.keep.is_file() else pd.DataFrame({"seed": []})
    for seed in sorted({*range(given.truths)} - {*kept["seed"]}):
        table = verdicts(seed, given.resamples, claims, groups)
        table.to_csv(given.keep, mode="a", index=False, header=not given.keep.is_file())
    write("claims", "Verdicts on drawn truths", summary(pd.read_csv(given.keep)))


if __name__ == "__main__":
    main()
