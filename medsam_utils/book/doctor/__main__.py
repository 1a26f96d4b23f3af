"""A look at a dataset before anything is computed on it: what is there, and what is odd about it.

    python -m medsam_utils.book.doctor NAME_OR_FOLDER [--data FOLDER] [--sample N] [--page out.html]

NAME is a dataset of the study, FOLDER one of your own with `images` and `masks`. The exit status is
0 if nothing was found, 1 if something was, 2 if there is nothing that can be read. The files are
only read.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...case import BadInputError, unknown_name
from ...datasets import DATASETS, load_folder
from ...datasets.folder import MASKS
from ...demo import load_dataset
from .examine import examine
from .page import page


def main(arguments: list[str] | None = None) -> int:
    """Examine the dataset or folder named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.book.doctor", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "dataset", help=f"a folder with images and masks, or one of: {', '.join(DATASETS)}"
    )
    parser.add_argument("--data", help="folder of the study's datasets (default: MEDSAM_DATA)")
    parser.add_argument("--sample", type=int, help="read at most so many cases (default: all)")
    parser.add_argument(
        "--page", type=Path, help="also write a page with overlays to this HTML file"
    )
    parser.add_argument("--classes", default="", help=MASKS["classes"])
    parser.add_argument("--ignore", default="", help=MASKS["ignore"])
    parser.add_argument("--threshold", default="", help=MASKS["threshold"])
    options = parser.parse_args(arguments)
    try:
        if options.dataset in DATASETS:
            dataset = load_dataset(options.dataset, options.data)
        elif Path(options.dataset).name == options.dataset and not Path(options.dataset).exists():
            unknown = unknown_name("dataset", options.dataset, DATASETS)
            raise BadInputError(f"{unknown}. No folder has this name either")
        else:
            said = {name: getattr(options, name) for name in MASKS}
            dataset = load_folder(options.dataset, **said)
        report = examine(dataset, options.sample)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.text())
    if options.page:
        options.page.write_text(page(dataset, report), encoding="utf-8")
        print(f"Overlays: {options.page}")
    return report.status


if __name__ == "__main__":
    sys.exit(main())
