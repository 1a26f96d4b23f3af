"""Fetching datasets where licence and host allow it without an account; exact instructions for the others.

    python -m medsam_utils.datasets.fetch                       what can be fetched, and what cannot
    python -m medsam_utils.datasets.fetch NAME [--data FOLDER]  fetches one into FOLDER/NAME

The addresses and hashes were collected from public code that uses these datasets; a host that has moved
gives an error that names the file to get by other means.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pooch
from filelock import FileLock

from medsam_utils.case import BadInputError
from medsam_utils.datasets import DATASETS
from medsam_utils.datasets.unpack import SUFFIXES, unpack
from medsam_utils.download import WrongHashError, download


@dataclass(frozen=True)
class Archive:
    """One thing to download, under the name `file`: unpacked if it is a zip or tar, else kept as a file.

    url: its address, or "doi:..." of a Zenodo record that holds it in parts ("....aa", "....ab"): they
    are joined. sha256: None if none is published; the first one seen is then recorded and holds.
    gives: a folder that is in it: where a user has put that already, nothing is downloaded.
    """

    url: str
    sha256: str | None
    file: str
    note: str = ""
    gives: str = ""


def _decathlon(task: str, sha256: str, note: str = "") -> tuple[Archive, ...]:
    """Return the archive of a task of the Medical Segmentation Decathlon, which needs no registration."""
    url = f"https://msd-for-monai.s3-us-west-2.amazonaws.com/{task}.tar"
    return (Archive(url, sha256, f"{task}.tar", note, gives=task),)


_CT_ORG = "https://huggingface.co/datasets/MedOtter/ct-org/resolve/main"
_MENDELEY = "https://data.mendeley.com/public-files/datasets/3jykz7wz8d/files"

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "mri_heart": _decathlon(
        "Task02_Heart", "4277dc6dfe100142aa8060e895f6ff0f81c5b733703ea250bd294df8f820bcba"
    ),
    "mri_prostate_i2cvb": (
        Archive("doi:10.5281/zenodo.162231", None, "ge-1-5t.tar.gz", "split archive", gives="GE"),
        Archive("doi:10.5281/zenodo.162231", None, "siemens-3t.tar.gz", "split archive", gives="Siemens"),
    ),
    "xray_chest": (
        Archive(
            "http://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",
            "54601e952315d8f67383e9202a6e145997ade429f54f7e0af44b4e158714f424",
            "NLM-MontgomeryCXRSet.zip",
            gives="MontgomerySet",
        ),
        Archive(
            "http://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",
            None,
            "ChinaSet_AllFiles.zip",
            gives="ChinaSet_AllFiles",
        ),
    ),
    "xray_hip": (
        Archive(
            "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/zm6bxzhmfz-1.zip",
            None,
            "zm6bxzhmfz-1.zip",
        ),
    ),
    "us_breast": (
        Archive(
            "https://scholar.cu.edu.eg/Dataset_BUSI.zip",
            "b2ce09f6063a31a73f628b6a6ee1245187cbaec225e93e563735691d68654de7",
            "Dataset_BUSI.zip",
            "the host's certificate has been reported as unreliable",
            gives="Dataset_BUSI_with_GT",
        ),
    ),
    "us_muscle": (
        Archive(
            f"{_MENDELEY}/b1601a22-98a5-41ce-9fbb-54dd21834b55/file_downloaded",
            "81dbec46e9f3035831f97aa828735cd6ba04171a72902a9416e7847e75148a11",
            "muscle_us.zip",
            gives="Polito-Radboud-DeepLearningUS",
        ),
    ),
    "us_ovarian": (
        Archive(
            "https://ndownloader.figshare.com/files/44222642",
            "5343647807cf34b507b66acd752dd94de265c6d1a7fde9cf8aa441a7283cde3e",
            "mmotu.zip",
            "the figshare copy: its folders are named otherwise than the authors'",
        ),
    ),
    "ct_liver": _decathlon(
        "Task03_Liver",
        "4007d9db1acda850d57a6ceb2b3998b7a0d43f8ad5a3f740dc38bc0cb8b7a2c5",
        "about 29 GB; LiTS's 131 labelled scans as the Decathlon distributes them",
    ),
    "ct_organ": tuple(
        Archive(f"{_CT_ORG}/{file}", None, file, "280 files of a copy; the original needs IBM Aspera")
        for n in range(140)
        for file in (f"volumes/volume-{n}.nii.gz", f"labels/labels-{n}.nii.gz")
    ),
    "ct_pancreas": _decathlon(
        "Task07_Pancreas", "e40181a0229ca85c2588d6ebb90fa6674f84eb1e66f0f968cda088d011769732", "about 12 GB"
    ),
    "ct_hepaticvessel": _decathlon(
        "Task08_HepaticVessel", "ee880799f12e3b6e1ef2f8645f6626c5b39de77a4f1eae6f496c25fbf306ba04"
    ),
    "ct_spleen": _decathlon(
        "Task09_Spleen", "dfeba347daae4fb08c38f4d243ab606b28b91b206ffc445ec55c35489fa65e60"
    ),
    "ct_colon": _decathlon(
        "Task10_Colon", "a26bfd23faf2de703f5a51a262cd4e2b9774c47e7fb86f0e0a854f8446ec2325"
    ),
}
"""What can be had without an account; in the order in which it is downloaded."""

HOW: dict[str, str] = {
    "mri_spine": "Open http://niftyweb.cs.ucl.ac.uk/program.php?p=CHALLENGE and ask for the data. The "
    "training part is what is needed: the test part has no masks.",
    "mri_prostate": "Open https://liuquande.github.io/SAML/ and follow its link to Google Drive. The six "
    "folders BIDMC, BMC, HK, I2CVB, RUNMC and UCL are needed. "
    "The I2CVB original can be fetched: mri_prostate_i2cvb.",
    "mri_brain": "Register for BraTS on Synapse (2021: syn25829067, 2023: syn51156910), agree to its terms "
    "of use and download the training data.",
    "xray_chest": "The masks of the Shenzhen images need a Kaggle account: sign in, open "
    "https://www.kaggle.com/datasets/yoctoman/shcxr-lung-mask and download the archive.",
    "us_kidney": "Sign in to Kaggle, open https://www.kaggle.com/datasets/siatsyx/ct2usforkidneyseg and "
    "download the archive.",
    "us_nerve": "Sign in to Kaggle, join the competition ultrasound-nerve-segmentation (that is: accept its "
    "rules) and download `train`; the test images have no masks.",
    "pet_liver": "Search the University of Michigan's Deep Blue Data for the title 'Y-90 PET/CT & SPECT/CT "
    "and Corresponding Contours Dataset 31JULY2020' and download its files.",
    "mri_breast": "Install the NBIA Data Retriever, open The Cancer Imaging Archive's collection "
    "Duke-Breast-Cancer-MRI (doi 10.7937/TCIA.e3sv-re93), and download the images and the supplement "
    "with the segmentation masks (NRRD).",
    "pet_wholebody": "Open The Cancer Imaging Archive's collection FDG-PET-CT-Lesions "
    "(doi 10.7937/gkr0-xv29) and download its NIfTI version from FDAT.",
}
"""What a person has to do, where a program cannot or may not."""


def fetch(name: str, data: str | Path | None = None) -> Path:
    """Download a dataset into `data/<name>` and return its folder; what is there already is not asked for.

    data: the folder of real datasets, by default the environment variable MEDSAM_DATA; it is made if it
    does not exist. Archives are kept in `data/archives/<name>`, and may be deleted afterwards. Hashes
    that nobody publishes are recorded there at the first download (`hashes.json`), and hold from then on.

    Raises BadInputError for an unknown name, a failed or wrong download, an archive that is not safe to
    unpack, and, with what to do, for a dataset that only a person can get.
    """
    known = sorted({*DATASETS, *ARCHIVES, *HOW})
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadInputError(f"unknown dataset {name!r}{hint} Known: {', '.join(known)}.")
    data = data or os.environ.get("MEDSAM_DATA")
    if not data:
        raise BadInputError("where to? Set MEDSAM_DATA to the folder that holds the datasets, or give --data")
    data = Path(data).expanduser().resolve()
    folder = data / name
    if name not in ARCHIVES:
        if folder.is_dir() and any(folder.iterdir()):
            return folder
        raise BadInputError(f"{name} cannot be fetched without you.\n{instructions(name, data)}")
    if not folder.exists() and all(a.gives and (data / a.gives).is_dir() for a in ARCHIVES[name]):
        return data  # Unpacked directly below it, where `load_dataset` finds them, too.
    kept = data / "archives" / name
    kept.mkdir(parents=True, exist_ok=True)
    with FileLock(kept / "fetch.lock"):
        for archive in ARCHIVES[name]:
            _fetch_one(archive, folder, kept)
    if name in HOW:
        print(f"\nNot fetched:\n{instructions(name, data)}")
    return folder


def instructions(name: str, data: Path) -> str:
    """What to do to get a dataset by hand: where, on which terms, which files, where to put them."""
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
    else:
        _fetch_verified(archive.url, path, archive.sha256, kept)
    if not is_packed:
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / stem)
        return
    folder.mkdir(exist_ok=True)
    unpack(path, folder / stem)
    if archive.gives and not any((folder / stem).rglob(archive.gives)):
        print(f"{folder / stem}: expected a folder {archive.gives} in it: has the distribution changed?")


def _fetch_verified(url: str, path: Path, known: str | None, kept: Path) -> None:
    """Download one file; the hash is the published one, else the recorded one, else is recorded now."""
    record = kept / "hashes.json"
    hashes = json.loads(record.read_text()) if record.exists() else {}
    file = path.relative_to(kept).as_posix()
    recorded = None if known else hashes.get(file)
    try:
        download(url, path, known or recorded)
    except WrongHashError as error:
        if known:
            raise
        raise BadInputError(
            f"{error}. Nobody publishes a hash of this file: it was compared with the one recorded at its "
            f"first download. If the distribution was changed for a reason, delete {file!r} from {record}"
        ) from error
    if not (known or recorded):
        hashes[file] = pooch.file_hash(str(path))
        temporary = record.with_suffix(".new")
        temporary.write_text(json.dumps(hashes, indent=1, sort_keys=True))
        temporary.replace(record)
        print(
            f"{file}: no published hash; recorded sha256 {hashes[file]}, later downloads are compared with it"
        )


def _fetch_parts(archive: Archive, path: Path) -> None:
    """Download the parts of a split archive, verified with the hashes its record lists, and join them."""
    if path.exists():
        return  # It is only there when it is complete: see below.
    prefix = archive.file.split(".")[0]
    parts = [
        part for part in _record(archive.url) if re.fullmatch(rf"{re.escape(prefix)}.*\.[a-z]{{2}}", part[0])
    ]
    if not parts:
        raise BadInputError(f"{archive.url} holds no file {prefix}*: has the record changed?")
    paths = [download(url, path.with_name(file), known) for file, url, known in sorted(parts)]
    joined = path.with_name(path.name + ".joining")
    with joined.open("wb") as whole:
        for part in paths:
            with part.open("rb") as source:
                shutil.copyfileobj(source, whole, 1 << 20)
    joined.replace(path)
    for part in paths:
        part.unlink()


def _record(doi: str) -> list[tuple[str, str, str]]:
    """Return name, address and hash of each file of a Zenodo record, as the record itself lists them.

    Raises BadInputError if it cannot be read.
    """
    try:
        repository = pooch.downloaders.doi_to_repository(doi.removeprefix("doi:"), timeout=60)
        files = pooch.create(path="", base_url="", registry={})
        repository.populate_registry(files)
        return [(name, repository.download_url(name), known) for name, known in files.registry.items()]
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"{doi} could not be read ({error}): try again later") from error


def overview() -> str:
    """Return the table of datasets: name, automatic or by hand, archives, licence, note."""
    rows = [("dataset", "fetched", "verified by", "licence", "note")]
    for name in sorted({*DATASETS, *ARCHIVES, *HOW}):
        archives = ARCHIVES.get(name, ())
        by = "published sha256" if all(a.sha256 for a in archives) else "hash of the first download"
        if any(a.url.startswith("doi:") for a in archives):
            by = "the record's md5"
        way = ("partly" if name in HOW else "yes") if archives else "by hand"
        entry = DATASETS.get(name)
        licence = entry.passport.licence if entry else "(no reader yet)"
        rows.append((name, way, by if archives else "-", licence, archives[0].note if archives else ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Fetch the dataset named on the command line, or print the table; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.datasets.fetch", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", nargs="?", help="a dataset; without it, the table of all is printed")
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
