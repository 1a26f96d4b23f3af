"""A built book as one file to cite, and which of its numbers moved since another one.

    python -m medsam_utils.book.archive keep [--root .] [--out book.zip]
    python -m medsam_utils.book.archive moved OLD.zip [--root .]

The numbers are mean IoUs by page, task, model and click, of the rows that each page holds.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from ..case import BadInputError
from ..files import atomic_path
from ..run_record import versions
from ..statistics import mean_curves

HTML = "_build/html"
NUMBERS = "numbers.csv"
MADE = "made.json"
LEAST = 0.0005
"""A number that moved by less reads the same with three digits."""
KEYS = ["page", "task", "model", "level", "protocol", "click"]
_ROWS = re.compile(r'href="data:application/vnd\.apache\.parquet;base64,([A-Za-z0-9+/=]+)"')


def numbers(html: Path) -> pd.DataFrame:
    """Return the mean IoUs of all pages of a built book that hold their rows.

    Columns: page, task, model, level, protocol, click, iou, objects. A page with more rows than it
    can hold has no number here, and of one whose rows are of another kind, such as volumes, tells
    `attrs["other"]`. Raises BadInputError where there is no book.
    """
    if not (html / "index.html").is_file():
        raise BadInputError(f"{html}: no built book: run `make book` first")
    tables, other = [], []
    for page in sorted((html / "book/pages").rglob("*.html")):
        for text in _ROWS.findall(page.read_text(encoding="utf-8")):
            rows = pd.read_parquet(io.BytesIO(base64.b64decode(text)))
            if not {"case_id", "click", "iou"} <= set(rows):
                other.append(page.stem)
                continue
            for protocol, protocol_rows in rows.groupby("protocol", sort=False):
                means = mean_curves(protocol_rows).assign(page=page.stem, protocol=protocol)
                tables.append(means[[*KEYS, "iou", "objects"]])
    columns = pd.DataFrame(columns=[*KEYS, "iou", "objects"])
    table = pd.concat(tables or [columns], ignore_index=True).drop_duplicates(KEYS)
    table.attrs = {"other": other}
    return table


def keep(root: Path, out: Path) -> str:
    """Write a built book with its numbers as one file; return its sha256.

    The file holds the pages with their rows, CITATION.cff, LICENSE, numbers.csv, and made.json:
    date, commit, versions, and the hash of each file.
    """
    html = root / HTML
    files = {NUMBERS: numbers(html).to_csv(index=False).encode()}
    for name in ("CITATION.cff", "LICENSE"):
        files[name] = (root / name).read_bytes()
    paths = sorted(path for path in html.rglob("*") if path.is_file())
    files |= {f"html/{path.relative_to(html).as_posix()}": path.read_bytes() for path in paths}
    made = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(root),
        "versions": versions(),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    with atomic_path(out) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, content in {MADE: json.dumps(made, indent=1).encode(), **files}.items():
            archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def read_numbers(file: Path) -> tuple[pd.DataFrame, dict]:
    """Return the numbers of a kept book, and what it says of itself.

    Raises BadInputError for another file, and for numbers that are not those that were kept.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            made, content = json.loads(archive.read(MADE)), archive.read(NUMBERS)
            if made["sha256"][NUMBERS] != hashlib.sha256(content).hexdigest():
                raise BadInputError(f"{file}: its {NUMBERS} was changed: take the book again")
    except FileNotFoundError:
        raise BadInputError(f"{file}: no such file: give one that `make archive` wrote") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"{file}: no kept book ({error}): see `make archive`") from error
    return pd.read_csv(io.BytesIO(content)), made


def moved(old: pd.DataFrame, new: pd.DataFrame, least: float = LEAST) -> pd.DataFrame:
    """Return the numbers that moved by `least` or more, are gone, or are new.

    old, new: of `numbers`. Columns: page, task, model, level, protocol, click, what (moved, gone or
    new), old, new and moved (new minus old), the largest first.

    >>> line = {"page": "p", "task": "T", "model": "m", "level": "demo", "protocol": "paper"}
    >>> old = pd.DataFrame([line | {"click": 1, "iou": 0.5}, line | {"click": 2, "iou": 0.7}])
    >>> moved(old, old.assign(iou=[0.5, 0.75]))[["click", "what", "old", "new"]].values.tolist()
    [[2, 'moved', 0.7, 0.75]]
    """
    names = {"left_only": "gone", "right_only": "new", "both": "moved"}
    both = old[[*KEYS, "iou"]].merge(new[[*KEYS, "iou"]], "outer", KEYS, indicator="what")
    both = both.assign(what=both["what"].astype(str).map(names))
    both = both.rename(columns={"iou_x": "old", "iou_y": "new"})
    both["moved"] = both["new"] - both["old"]
    defined = both["old"].isna() != both["new"].isna()
    shown = both[(both["what"] != "moved") | defined | (both["moved"].abs() >= least)]
    order = shown.assign(size=shown["moved"].abs()).sort_values(
        ["what", "size"], ascending=[False, False], key=_by_kind, kind="stable"
    )
    return order[[*KEYS, "what", "old", "new", "moved"]].reset_index(drop=True)


def _by_kind(column: pd.Series) -> pd.Series:
    """Return a column to sort by: what moved comes before what is gone and what is new."""
    return column.map({"moved": 2, "gone": 1, "new": 0}) if column.name == "what" else column


def _commit(root: Path) -> str:
    """Return the commit of a checkout, and whether files differ from it; empty without one."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit} with changes" if changed else commit


def _count(table: pd.DataFrame, what: Iterable[str]) -> str:
    return ", ".join(f"{(table['what'] == name).sum()} {name}" for name in what)


def main(arguments: list[str] | None = None) -> int:
    """Keep a book or compare it with a kept one; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep", help="write the built book as one file")
    keeping.add_argument("--out", type=Path, default=Path("book.zip"))
    comparing = commands.add_parser("moved", help="which numbers moved since a kept book")
    comparing.add_argument("since", type=Path)
    for command in (keeping, comparing):
        command.add_argument("--root", type=Path, default=Path())
    options = parser.parse_args(arguments)
    try:
        if options.command == "keep":
            print(f"{options.out}, sha256 {keep(options.root, options.out)}")
            return 0
        old, made = read_numbers(options.since)
        new = numbers(options.root / HTML)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    table, commit = moved(old, new), made["commit"][:10] or "unknown"
    print(
        f"Of {len(new)} mean IoUs since {made['made']} (commit {commit}): "
        f"{_count(table, ('moved', 'gone', 'new'))}."
    )
    if new.attrs["other"]:
        print(f"Not compared, as their rows are of another kind: {', '.join(new.attrs['other'])}.")
    if len(table):
        print(table.to_string(index=False, float_format="%.4f"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
