"""Downloads that resume after a cut, are verified before use, and are not kept if wrong."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from .case import BadInputError

CHUNK = 1 << 18


class WrongHashError(BadInputError):
    """What was downloaded is not what it should be; it has been removed."""


class CutError(OSError):
    """The connection ended before the file did; another attempt may get the rest."""


def download(url: str, path: Path, known_hash: str | None = None) -> Path:
    """Return `path`, downloaded from `url` unless the right content is there already.

    known_hash: sha256 of the content, or "algorithm:hash"; without it, whatever is there is taken
    as it is. What a cut connection leaves stays in `<path>.part`, and the next call asks only for
    the rest. Several processes may ask for one file: one downloads, the others wait.

    Raises BadInputError if the file cannot be had; WrongHashError if it has another hash, and is
    not kept.
    """
    if path.is_file() and (known_hash is None or pooch.hashes.hash_matches(str(path), known_hash)):
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            pooch.retrieve(url, known_hash, path.name, path.parent, downloader=Resuming(part))
    except OSError as error:
        remedy = f"try again later, or download it with a browser and put it at {path}"
        if path.is_file():
            there = pooch.file_hash(str(path), pooch.hashes.hash_algorithm(known_hash))
            remedy += f" (what is there has the hash {there}, not {known_hash})"
        raise BadInputError(f"{url} could not be fetched ({error}): {remedy}") from error
    except ValueError as error:
        raise WrongHashError(
            f"{url}: another file than expected, it is not kept ({error})"
        ) from error
    return path


@dataclass(frozen=True)
class Resuming:
    """Downloader for pooch that continues a partial file, instead of beginning again.

    part: where bytes are collected; it outlives a failed call. attempts: how many in a row may
    bring nothing new; pause: seconds before the second, doubled each time. timeout: seconds without
    a byte.

    Raises OSError, with what happened and what is kept, once the attempts are used up, or at once
    where another one cannot help (404, full disk).
    """

    part: Path
    attempts: int = 4
    pause: float = 1.0
    timeout: float = 30.0

    def __call__(
        self, url: str, output_file: str, owner: object, check_only: bool = False
    ) -> bool | None:
        """Download `url` to `output_file`; check_only: only return whether the server has it."""
        if check_only:
            return requests.head(url, timeout=self.timeout, allow_redirects=True).ok
        failures = 0
        while True:
            before = self._size()
            try:
                self._attempt(url)
                break
            except (CutError, requests.ConnectionError, requests.Timeout) as error:
                # A long file over a poor connection is cut many times: only standing still counts.
                failures = 1 if self._size() > before else failures + 1
                if failures >= self.attempts:
                    kept = (
                        f"; {self._size()} bytes are kept and not asked for again"
                        if self._size()
                        else ""
                    )
                    raise OSError(
                        f"{error}, {failures} attempts brought nothing new{kept}"
                    ) from error
                time.sleep(self.pause * 2 ** (failures - 1))
        os.replace(self.part, output_file)
        self._validator.unlink(missing_ok=True)
        return None

    @property
    def _validator(self) -> Path:
        """Return the file that holds the server's version of the content: its ETag or date."""
        return self.part.with_name(self.part.name + ".version")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        """Ask for what is missing and add it to the part; raises CutError if not all comes."""
        # Identity: a server that compresses on the way counts other bytes than those in the file.
        headers = {"Accept-Encoding": "identity"}
        have = self._size()
        # Without a version, the rest might be the rest of another file: begin again.
        if have and self._validator.exists():
            headers |= {"Range": f"bytes={have}-", "If-Range": self._validator.read_text()}
        with requests.get(url, stream=True, headers=headers, timeout=self.timeout) as response:
            status = response.status_code
            if status == 416 and response.headers.get("Content-Range") == f"bytes */{have}":
                return  # Nothing is missing: only the end of the last call was.
            if status == 416 or (status == 206 and _first_byte(response) != have):
                self.part.unlink(missing_ok=True)
                raise CutError(
                    "the server's file has another length than the part that is kept: begun again"
                )
            if status == 429 or status >= 500:
                raise CutError(f"the server answers {status} {response.reason}")
            if status >= 400:
                raise OSError(f"the server answers {status} {response.reason}")
            if status != 206:
                have = 0  # The server does not do ranges, or its file has changed.
            rest = response.headers.get("Content-Length")
            total = have + int(rest) if rest else None
            free = shutil.disk_usage(self.part.parent).free
            if rest and int(rest) > free:
                raise OSError(
                    f"{int(rest) / 1e9:.1f} GB to come, the disk has {free / 1e9:.1f} GB left"
                )
            self._validator.unlink(missing_ok=True)
            try:
                with self.part.open("ab" if have else "wb") as file:
                    if version := _version(response):
                        self._validator.write_text(version)
                    name = self.part.name.removesuffix(".part")
                    with tqdm(
                        desc=name,
                        total=total,
                        initial=have,
                        unit="B",
                        unit_scale=True,
                        disable=None,
                    ) as bar:
                        # The raw stream: bytes as they lie on the server, even if it calls them
                        # compressed.
                        for chunk in response.raw.stream(CHUNK, decode_content=False):
                            file.write(chunk)
                            bar.update(len(chunk))
            except HTTPError as error:
                raise CutError(f"cut after {self._size()} of {total or 'unknown'} bytes") from error
        if total is not None and self._size() < total:
            raise CutError(f"cut after {self._size()} of {total} bytes")


def _first_byte(response: requests.Response) -> int | None:
    """Index of the first byte that a 206 answer brings."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _version(response: requests.Response) -> str:
    """What If-Range may quote: a strong ETag, else the date of the last change, else nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
