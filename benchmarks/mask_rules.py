"""What each way to choose SAM's mask gives, with and without the last mask fed back: IoU by clicks.

python benchmarks/mask_rules.py mobile_sam [--sets us_breast ct_liver] [--max-cases 12] [--ct]

On the real pairs beside the checkout (see tests/realdata.py), where they are there, and with --ct
on the CT of `ct_torso`. Besides the rules: all rules of the released code, and a box, then clicks.
Rows and encoded images are kept in --store, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from medsam_utils import RELEASED_CODE, evaluate, load_dataset, load_folder, load_model
from medsam_utils.clicks import MASK_RULES, Protocol
from medsam_utils.datasets import Dataset

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import realdata

RULES = MASK_RULES | {
    "all rules of the released code": RELEASED_CODE,
    "box, then clicks": Protocol(prompt="box_all"),
}
CLICKS = [1, 3, 5, 9]


def datasets(sets: list[str], folder: Path, ct: bool) -> dict[str, Dataset]:
    """Return the real sets as datasets, and the CT where it is wanted."""
    found = {}
    for name in sets if realdata.available() else []:
        staged = folder / name
        if not staged.is_dir():
            realdata.stage(name, staged)
        found[name] = load_folder(staged, intensity=realdata.intensity(name), name=name)
    return found | ({"ct_torso": load_dataset("ct_torso")} if ct else {})


def main() -> None:
    """Print a table: a line per rule and set, and the mean over the flat sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--sets", nargs="*", default=list(realdata.FLAT))
    parser.add_argument("--max-cases", type=int, default=0)
    parser.add_argument("--ct", action="store_true")
    parser.add_argument("--store", type=Path, default=Path("results/mask_rules"))
    given = parser.parse_args()
    model = load_model(given.model, device="cpu", embeddings=given.store / "embeddings")
    lines = []
    for set_name, dataset in datasets(given.sets, given.store / "staged", given.ct).items():
        for rule, protocol in RULES.items():
            limit = given.max_cases or None
            rows = evaluate(dataset, model, protocol, 9, store=given.store, max_cases=limit)
            iou = rows.groupby(["task", "click"])["iou"].mean().groupby("click").mean()
            objects = int((rows["click"] == 1).sum())
            lines.append([set_name, objects, rule, *iou[CLICKS].round(3)])
            print(*lines[-1], sep="\t", flush=True)
    table = pd.DataFrame(lines, columns=["set", "objects", "rule", *CLICKS])
    table.to_csv(given.store / f"{given.model}.csv", index=False)
    flat = table[table["set"].isin(realdata.FLAT)]
    if flat["set"].nunique() > 1:
        print(f"mean of {flat['set'].nunique()} sets")
        print(flat.groupby("rule", sort=False)[CLICKS].mean().round(3).to_string())


if __name__ == "__main__":
    main()
