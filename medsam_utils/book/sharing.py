"""Rows of runs as one file that a reader elsewhere can check: `make share` and `make add`.

    python -m medsam_utils.book.sharing share NAME [--models ...] [--out rows.zip]
    python -m medsam_utils.book.sharing add rows.zip [--origin NAME] [--id ...] [--data FOLDER]

An archive is a zip with the rows of each run as Parquet, and `manifest.json`: their hashes, and the
record of each run with its settings and versions. The hash of the manifest is the archive's id.
`read_archive` refuses what does not fit together. Whoever writes a whole archive anew can make it
fit; against that there is the id, where its author has told it, and computing a sample again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..case import BadInputError
from ..clicks import Protocol
from ..datasets import Dataset
from ..evaluate import under
from ..files import atomic_path
from ..models import Model, load_model
from ..pipeline import evaluate_cases
from ..results import row_types
from .runs import evaluate_models, load_datasets

FORMAT = "medsam-utils rows, 1"
MANIFEST = "manifest.json"
LARGEST = 1 << 30
"""Bytes that the files of an archive may have, unpacked."""
ADDED = "results/added"
"""Where archives of others are kept; the page that compares models reads them."""
SAMPLE = 2
"""Cases that are computed again where data and weights are at hand."""
HASH = "[0-9a-f]{32}"
"""A fingerprint, see `fingerprint.case_fingerprints`."""
RECORD = ("started", "seconds", "cases", "device", "settings", "versions")


def share(tables: Sequence[pd.DataFrame], file: Path) -> str:
    """Write runs as an archive and return its id.

    tables: of `evaluate` with a store, which tell the fingerprints of their cases.
    """
    contents, runs = {}, []
    for number, rows in enumerate(tables):
        fingerprints = rows["case_id"].map(rows.attrs["fingerprints"]).astype("string")
        stored = rows.assign(fingerprint=fingerprints)
        stored.attrs = {}  # pandas would write it into the file, with what was left out
        content = stored.to_parquet(index=False)
        name = f"{number}.parquet"
        contents[name] = content
        record = {key: rows.attrs["record"][key] for key in RECORD}
        runs.append({"rows": name, "sha256": _hash(content), "record": record})
    manifest = json.dumps({"format": FORMAT, "runs": runs}, indent=1, sort_keys=True).encode()
    with atomic_path(file) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, content in {MANIFEST: manifest, **contents}.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of 1980: equal runs, equal bytes
        archive.comment = _hash(manifest).encode()
    return _hash(manifest)


def read_archive(file: Path, expected: str = "") -> tuple[str, list[pd.DataFrame]]:
    """Return the id of an archive and its runs, each with its record in `attrs`.

    expected: the id that its author told, or how it begins. Raises BadInputError, with the reason,
    for an archive in which anything does not fit.
    """
    try:
        contents, comment = _unpack(file)
        manifest = contents.pop(MANIFEST)
        if _hash(manifest) != comment:
            raise _UnfitError(f"{MANIFEST} is not the one that the archive was closed with")
        if not comment.startswith(expected.strip().lower()):
            raise _UnfitError(f"its id is {comment[:16]}..., not {expected}: it is another archive")
        runs = _read_manifest(manifest, set(contents))
        tables = [_read_run(run, contents[run["rows"]]) for run in runs]
        keys = [_key(table) for table in tables]
        if len(set(keys)) < len(keys):
            raise _UnfitError("it holds a run twice")
    except _UnfitError as error:
        raise BadInputError(f"{file}: {error}: ask for the archive again") from None
    return comment, tables


class _UnfitError(Exception):
    """Something in an archive does not fit; the message is the reason."""


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _key(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(table[["dataset", "model", "protocol"]].iloc[0])


def _unpack(file: Path) -> tuple[dict[str, bytes], str]:
    """Return the files of an archive by name, and its comment."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(set(names)) < len(names):
                raise _UnfitError("it holds a file twice")
            if bad := [name for name in names if name != MANIFEST and not _is_rows(name)]:
                raise _UnfitError(f"it holds {bad[0]!r}, which is no file of rows")
            if MANIFEST not in names:
                raise _UnfitError(f"it has no {MANIFEST}")
            if sum(entry.file_size for entry in entries) > LARGEST:
                raise _UnfitError(f"unpacked it is larger than {LARGEST >> 20} MiB")
            return {name: archive.read(name) for name in names}, archive.comment.decode("ascii")
    except FileNotFoundError:
        remedy = "give the archive that `make share` wrote"
        raise BadInputError(f"{file}: no such file: {remedy}") from None
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        NotImplementedError,
    ) as error:
        raise _UnfitError(f"it is no whole zip file ({error})") from error


def _is_rows(name: str) -> bool:
    number, _, suffix = name.partition(".")
    return suffix == "parquet" and number.isascii() and number.isdigit()


def _read_manifest(content: bytes, files: set[str]) -> list[dict[str, Any]]:
    """Return the runs that a manifest tells of, in their order."""
    try:
        manifest = json.loads(content)
        if manifest["format"] != FORMAT:
            raise _UnfitError(f"its format is {manifest['format']!r}, not {FORMAT!r}")
        runs = manifest["runs"]
        named = [str(run["rows"]) for run in runs]
        for run in runs:
            if missing := set(RECORD) - set(run["record"]):
                raise _UnfitError(f"a record lacks {', '.join(sorted(missing))}")
            run["sha256"], run["record"]["settings"]["protocol"], int(run["record"]["cases"])
    except (ValueError, KeyError, TypeError) as error:
        raise _UnfitError(f"{MANIFEST} cannot be read ({error!r})") from error
    if lost := set(named) - files:
        raise _UnfitError(f"it lacks {min(lost)}")
    if more := files - set(named):
        raise _UnfitError(f"it holds {min(more)}, of which {MANIFEST} does not tell")
    if not runs or len(set(named)) < len(named):
        raise _UnfitError(f"{MANIFEST} tells of no run, or of one file twice")
    return runs


def _read_run(run: Mapping[str, Any], content: bytes) -> pd.DataFrame:
    """Return the rows of a run, checked against their record, with it in `attrs`."""
    name, record = run["rows"], run["record"]
    if _hash(content) != run["sha256"]:
        raise _UnfitError(f"{name} has other content than {MANIFEST} says")
    settings = record["settings"]
    try:
        protocol = Protocol(**settings["protocol"])
        wanted = {
            "dataset": settings["dataset"]["name"],
            "level": settings["dataset"]["level"],
            "model": settings["model"]["name"],
            "weights": settings["model"]["weights"],
            "protocol": protocol.name,
        }
        types = {**row_types(settings.get("metrics", ())), "fingerprint": "string"}
        clicks = int(settings["clicks"])
    except (KeyError, TypeError, ValueError) as error:
        raise _UnfitError(f"the settings of {name} are none of a run ({error!r})") from error
    try:
        part = pq.read_table(pa.BufferReader(content), use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _UnfitError(f"{name} is no Parquet file") from error
    schema = pa.Schema.from_pandas(pd.DataFrame(columns=list(types)).astype(types))
    if not part.schema.equals(schema):
        raise _UnfitError(f"{name} has other columns than rows have")
    rows = part.to_pandas()
    if rows.empty:
        raise _UnfitError(f"{name} has no row")
    for column, value in wanted.items():
        found = rows[column].fillna("").unique().tolist()
        if found != [value or ""]:
            raise _UnfitError(f"{column} of {name} is {found[0]!r}, in its record {value!r}")
    if reason := _oddity(rows, protocol, clicks, int(record["cases"])):
        raise _UnfitError(f"{name}: {reason}")
    fingerprints = rows.set_index("case_id")["fingerprint"].to_dict()
    rows.attrs = {"record": {"computed": 0, **record}, "fingerprints": fingerprints}
    return rows.drop(columns="fingerprint")


def _oddity(rows: pd.DataFrame, protocol: Protocol, clicks: int, cases: int) -> str:
    """Return what in rows contradicts the protocol or itself; empty if nothing does."""
    iou, click, shown = rows["iou"], rows["click"], rows["row"] >= 0
    objects = rows.groupby(["case_id", "task"], sort=False)
    made, before = objects["click"].transform("size"), objects["iou"].shift()
    stops = protocol.without_error == "stop"
    inside = protocol.prompt == "clicks" and protocol.label == "object"
    shares = rows[["iou", *(c for c in rows if c == "boundary_iou" or c.startswith("nsd@"))]]

    def varies(column: str, *by: str) -> pd.Series:
        return rows.groupby(list(by), sort=False)[column].transform("nunique") > 1

    odd = {
        "a case has no fingerprint of 32 digits": ~rows["fingerprint"].str.fullmatch(HASH),
        "a case has two fingerprints": varies("fingerprint", "case_id"),
        "two cases have one fingerprint": varies("case_id", "fingerprint"),
        "a case has two patients": varies("patient_id", "case_id"),
        "it has more cases than its record": np.array(rows["case_id"].nunique() > cases),
        "an object lacks a click, or has one too many": made != clicks,
        "an object's clicks are not in order": click != objects.cumcount() + 1,
        "an object's size changes": varies("area_share", "case_id", "task"),
        "an object's regions change": varies("components", "case_id", "task"),
        "an object is no part of the image": (rows["area_share"] <= 0) | (rows["area_share"] > 1),
        "an object has no region": rows["components"] < 1,
        "a score is outside 0 to 1": ((shares < 0) | (shares > 1)).any(axis=1),
        "Dice and IoU are not of one mask": (rows["dice"] - 2 * iou / (1 + iou)).abs() > 1e-9,
        "an IoU is not of whole pixels": _broken_pixels(rows),
        "one of Dice and IoU is missing": rows["dice"].isna() != iou.isna(),
        "a mask counts that is no candidate": ~rows["mask_index"].between(0, 2),
        "the IoU is not that of the mask that counts": _differs(rows, "iou"),
        "the predicted IoU is not that of the mask that counts": _differs(rows, "predicted_iou"),
        "another mask counts than the protocol says": _other_mask(rows, protocol),
        "a click lies half outside": (rows["row"] < -1) | (shown != (rows["col"] >= 0)),
        "a click is at a negative distance": rows["distance"] < 0,
        "a first click lies outside its object": inside & (click == 1) & ~rows["positive"],
        "a click follows on a perfect mask": stops & shown & (before == 1),
        "no click follows on an error": stops & ~shown & (before < 1),
    }
    return next((reason for reason, where in odd.items() if where.any()), "")


def _broken_pixels(rows: pd.DataFrame) -> pd.Series:
    """Return where rows with the metric union have an IoU that no count of pixels gives."""
    pixels = rows["iou"] * rows.get("union", 0)
    return (pixels - pixels.round()).abs() > 1e-6


def _differs(rows: pd.DataFrame, name: str) -> pd.Series:
    """Return where a score, iou or predicted_iou, is not that of the candidate that counts."""
    candidates = rows[[f"{name}_{i}" for i in range(3)]].to_numpy()
    chosen = candidates[np.arange(len(rows)), rows["mask_index"].clip(0, 2)]
    return (rows[name] != chosen) & ~(rows[name].isna() & np.isnan(chosen))


def _other_mask(rows: pd.DataFrame, protocol: Protocol) -> pd.Series:
    """Return where a mask counts that the protocol's rule would not choose."""
    rules = rows["click"].map(protocol.mask_choice_at)
    predicted = rows[[f"predicted_iou_{i}" for i in range(3)]].fillna(-np.inf)
    best = pd.Series(predicted.to_numpy().argmax(axis=1), rows.index)
    return (rows["mask_index"] != best.where(rules == "most_confident", 0)) & (rules != "oracle")


def recompute(table: pd.DataFrame, dataset: Dataset, model: Model, cases: int = SAMPLE) -> float:
    """Return the largest difference of IoU after one click when some cases are computed again.

    Later clicks follow the mask before, so that another processor may go other ways there. Raises
    BadInputError for a case that the dataset does not have, or without the same objects.
    """
    settings = table.attrs["record"]["settings"]
    protocol = Protocol(**settings["protocol"])
    ids = list(dict.fromkeys(table["case_id"]))
    chosen = [
        ids[i] for i in np.linspace(0, len(ids) - 1, min(cases, len(ids))).round().astype(int)
    ]
    references = [dataset[case_id] for case_id in chosen]
    task = under(dataset, protocol), model, protocol, 1, ()
    parts = [rows for rows, *_ in evaluate_cases(references, *task, ahead=False)]
    known = table[table["case_id"].isin(chosen) & (table["click"] == 1)]
    both = known.merge(pd.concat(parts), how="outer", on=["case_id", "task"], indicator=True)
    if (both["_merge"] != "both").any():
        raise BadInputError(f"{both['case_id'].iloc[0]}: other objects than here: other data")
    return float((both["iou_x"] - both["iou_y"]).abs().max())


def added_tables(folder: str | Path = ADDED) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the runs that were added to a book: (dataset, model) -> rows, checked again.

    The name of a model is followed by the origin, which is the archive's name.
    """
    tables = {}
    for file in sorted(Path(folder).glob("*.zip")):
        for table in read_archive(file)[1]:
            dataset, model, _ = _key(table)
            name = f"{model} ({file.stem})"
            tables[dataset, name] = table.assign(model=name).astype({"model": "string"})
            tables[dataset, name].attrs = table.attrs
    return tables


def origin_name(text: str) -> str:
    """Return what rows of others are called, which becomes a file's name and part of a model's.

    Raises BadInputError for a text that cannot be both.

    >>> origin_name(" Klinik Süd, 2026 ")
    'Klinik Süd, 2026'
    """
    name = text.strip()
    usable = all(sign.isalnum() or sign in " ._-+,()" for sign in name)
    if not usable or not 0 < len(name) <= 80 or name.startswith("."):
        raise BadInputError(
            f"{text!r} is no name of an origin: give --origin with up to 80 letters, digits, "
            "spaces and . _ - + , ( ), beginning with another sign than a point"
        )
    return name


def _describe(table: pd.DataFrame) -> str:
    """Return what a run is, in a line."""
    dataset, model, protocol = _key(table)
    record = table.attrs["record"]
    weights = (table["weights"].iloc[0] or "none")[:16]
    return (
        f"{dataset}, {model}, {protocol}: cases: {table['case_id'].nunique()}, rows: {len(table)}, "
        f"level {table['level'].iloc[0]}, weights {weights}, computed {record['started']} on "
        f"{record['device']} with code {record['settings']['code']}"
    )


def _check_sample(table: pd.DataFrame, data: str | None) -> str:
    """Return what came of computing a sample again; raises BadInputError if it differs."""
    name, model_name, _ = _key(table)
    try:
        (dataset,) = load_datasets(name, data=data or "")
        model = load_model(model_name)
        if dataset.level != table["level"].iloc[0]:
            raise BadInputError(f"the {dataset.level} files are here, not the same")
        if (model.weights or "") != table["weights"].iloc[0]:
            raise BadInputError("its weights are others")
        difference = recompute(table, dataset, model)
    except BadInputError as error:
        return f"not computed again: {error}"
    if not difference < 0.01:
        raise BadInputError(
            f"{name}, {model_name}: computed again, the IoU after one click differs by up to "
            f"{difference:.3f}: these rows are not of this data and model"
        )
    return f"{SAMPLE} cases computed again: IoU after one click equal within {difference:.0e}"


def main(arguments: list[str] | None = None) -> int:
    """Share or add rows as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sharing = commands.add_parser("share", help="write stored rows as an archive")
    sharing.add_argument("datasets", help="names, with spaces between")
    sharing.add_argument("--models", default="mobile_sam ritm_small")
    sharing.add_argument("--protocol", default="paper")
    sharing.add_argument("--max-cases", type=int, default=0)
    sharing.add_argument("--compute", default="", help="as of the notebooks")
    sharing.add_argument("--out", type=Path, default=Path("rows.zip"))
    adding = commands.add_parser("add", help="check an archive and keep it for the book")
    adding.add_argument("file", type=Path)
    adding.add_argument("--origin", help="what its rows are called (default: the file's name)")
    adding.add_argument("--id", default="", help="the id that its author told, or how it begins")
    for command in (sharing, adding):
        command.add_argument("--data", help="folder of real datasets (default: MEDSAM_DATA)")
    options = parser.parse_args(arguments)
    try:
        if options.command == "share":
            subjects = load_datasets(options.datasets, data=options.data or "")
            said = options.protocol, 9, options.max_cases, options.compute
            runs = evaluate_models(subjects, options.models, "", *said)
            print(*runs.notes, *map(_describe, runs.tables.values()), sep="\n")
            print(f"{options.out}, id {share(list(runs.tables.values()), options.out)}")
        else:
            origin = origin_name(options.origin or options.file.stem)
            identity, tables = read_archive(options.file, options.id)
            for table in tables:
                print(_describe(table), _check_sample(table, options.data), sep="\n  ")
            target = Path(ADDED) / f"{origin}.zip"
            with atomic_path(target) as unfinished:
                shutil.copyfile(options.file, unfinished)
            print(f"kept as {target}, id {identity}")
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
