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
from .files import make_folder, move_durably

CHUNK = 1 << 18
RESERVE = 1 << 30  # bytes that an answer of unknown length leaves free on the disk


class WrongHashError(BadInputError):
    """What was downloaded is not what it should be; it has been removed."""


class CutError(OSError):
    """The connection ended before the file did; another attempt may get the rest."""


def download(url: str, path: Path, known_hash: str | None = None, size: int | None = None) -> Path:
    """Return `path`, downloaded from `url` unless the right content is there already.

    known_hash: sha256 of the content, or "algorithm:hash"; without it, whatever is there is taken
    as it is, unless it is empty. size: its bytes, where they are published. What a cut connection
    leaves stays in `<path>.part`, and the next call asks only for the rest. Several processes may
    ask for one file: one downloads, the others wait.

    Raises BadInputError if the file cannot be had; WrongHashError if it has another hash, and is
    not kept.
    """

    def is_there() -> bool:
        if not path.is_file():
            return False
        return path.stat().st_size > 0 if known_hash is None else _matches(path, known_hash)

    part = path.with_name(path.name + ".part")
    try:
        if is_there():
            return path
        make_folder(path.parent)
        with FileLock(path.with_name(path.name + ".lock")):
            if not is_there():
                resuming = Resuming(part, known_hash is not None, size)
                resuming(url)
                if known_hash and not _matches(part, known_hash):
                    found = _hash(part, known_hash)
                    resuming.forget()
                    raise WrongHashError(
                        f"{url}: another file than expected, it is not kept: its hash is {found}, "
                        f"not {known_hash}"
                    )
                move_durably(part, path)
                resuming.forget()
    except (BadInputError, MemoryError):
        raise
    except Exception as error:  # of the network, the disk, or what a server says of itself
        remedy = f"try again later, or download it with a browser and put it at {path}"
        if known_hash and path.is_file():
            there = _hash(path, known_hash)
            remedy += f" (what is there has the hash {there}, not {known_hash})"
        raise BadInputError(f"{url} could not be fetched ({error}): {remedy}") from error
    return path


def recorded_hash(found: object, record: Path) -> str:
    """Return a sha256 that was noted in a file; raises BadInputError for anything else."""
    if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found):
        return found
    raise BadInputError(
        f"{record}: it is damaged, no sha256 of a file stands in it: delete it, and compare what "
        "was downloaded with another source if you can; it is then noted anew"
    )


def _hash(path: Path, known_hash: str) -> str:
    return pooch.file_hash(str(path), pooch.hashes.hash_algorithm(known_hash))


def _matches(path: Path, known_hash: str) -> bool:
    return bool(pooch.hashes.hash_matches(str(path), known_hash))


@dataclass(frozen=True)
class Resuming:
    """A download that continues a partial file, instead of beginning again.

    part: where bytes are collected; it outlives a failed call. is_verified: whether a hash will
    tell a mixture of two versions; else only a part with a strong ETag is continued. size: bytes of
    the whole, None if unknown. attempts: how many in a row may bring nothing new; cuts: how many
    there may be in all; pause: seconds before the second, doubled each time. timeout: seconds
    without a byte.
    """

    part: Path
    is_verified: bool = False
    size: int | None = None
    attempts: int = 4
    cuts: int = 1000
    pause: float = 1.0
    timeout: float = 30.0

    def __call__(self, url: str) -> None:
        """Download `url` to the part.

        Raises OSError, with what happened and what is kept, once the attempts are used up, or at
        once where another one cannot help (404, full disk, more bytes than announced).
        """
        failures, most = 0, self._have()
        for cut in range(1, self.cuts + 1):
            try:
                self._attempt(url)
                return
            except (CutError, requests.ConnectionError, requests.Timeout) as error:
                # A long file over a poor connection is cut many times: only standing still counts.
                failures = 1 if self._have() > most else failures + 1
                most = max(most, self._have())
                if failures >= self.attempts or cut == self.cuts:
                    have = self._have()
                    kept = f"; {have} bytes are kept and not asked for again" if have else ""
                    raise OSError(
                        f"{error}, {failures} attempts brought nothing new{kept}"
                    ) from error
                time.sleep(self.pause * 2 ** (failures - 1))

    def forget(self) -> None:
        """Delete the part and what is known of it."""
        self.part.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)

    @property
    def _validator(self) -> Path:
        """Return the file that holds the server's version of the content: its ETag or date."""
        return self.part.with_name(self.part.name + ".version")

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _kept_version(self) -> str:
        """Return the version of which the part is a beginning; empty: it is not continued."""
        if not self._have() or not self._validator.is_file():
            return ""
        version = self._validator.read_text(errors="replace")
        return version if _is_version(version, self.is_verified) else ""

    def _attempt(self, url: str) -> None:
        """Ask for what is missing and add it to the part; raises CutError if not all comes."""
        # Identity: a server that compresses on the way counts other bytes than those in the file.
        headers = {"Accept-Encoding": "identity"}
        have, version = self._have(), self._kept_version()
        # Without a version, the rest might be the rest of another file: begin again.
        if version:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        with requests.get(url, stream=True, headers=headers, timeout=self.timeout) as response:
            status, now = response.status_code, _version(response, self.is_verified)
            first, total = _range(response)
            if status == 416 and version and (first, total) == (None, have):
                return  # Nothing is missing: only the end of the last call was.
            is_rest = status == 206 and version and first == have
            is_same = now == version or (self.is_verified and not now)
            if status == 416 or (status == 206 and not (is_rest and is_same)):
                self.forget()
                raise CutError(
                    "the server has another file than the part that is kept: begun again"
                )
            if status == 429 or status >= 500:
                raise CutError(f"the server answers {status} {response.reason}")
            if status not in (200, 206):
                raise OSError(f"the server answers {status} {response.reason}")
            if status == 200:
                have = 0  # The server does not do ranges, or its file has changed.
                length = response.headers.get("Content-Length", "")
                total = int(length) if re.fullmatch(r"\d{1,15}", length) else None
            self._refuse(response, have, total)
            total = total if total is not None else self.size
            self._validator.unlink(missing_ok=True)
            self._collect(response, have, total, now)
        if not self._have():
            self.forget()
            raise OSError("the server's answer is empty")
        if total is not None and self._have() < total:
            raise CutError(f"cut after {self._have()} of {total} bytes")

    def _refuse(self, response: requests.Response, have: int, total: int | None) -> None:
        """Raise OSError for an answer that cannot be the whole file, or for which is no room."""
        if total is not None and self.size not in (None, total):
            raise OSError(f"the server's file has {total} bytes, not {self.size}")
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - have > free:
            raise OSError(
                f"{(total - have) / 1e9:.1f} GB to come, the disk has {free / 1e9:.1f} GB left"
            )
        is_told = total is not None or self.size is not None or self.is_verified
        if not is_told and not getattr(response.raw, "chunked", False):
            raise OSError(
                "the server does not say how long the file is, and no hash of it is known: it "
                "could be cut without a sign"
            )

    def _collect(
        self, response: requests.Response, have: int, total: int | None, version: str
    ) -> None:
        """Add an answer to the part; raises CutError, and OSError if it goes on past its end."""
        limit = total
        if limit is None:
            limit = have + max(0, shutil.disk_usage(self.part.parent).free - RESERVE)
        bar = tqdm(
            desc=self.part.name.removesuffix(".part"),
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None,
        )
        try:
            with self.part.open("ab" if have else "wb") as file, bar:
                if version and self.is_verified:
                    self._validator.write_text(version)
                try:
                    # The raw stream: bytes as they lie on the server, even if it calls them
                    # compressed.
                    for chunk in response.raw.stream(CHUNK, decode_content=False):
                        have += len(chunk)
                        if have > limit:
                            break
                        file.write(chunk)
                        bar.update(len(chunk))
                finally:
                    file.flush()
                    os.fsync(file.fileno())
                    # Without a hash a loss of power must not leave a part that seems whole.
                    if version and not self.is_verified:
                        self._validator.write_text(version)
        except HTTPError as error:
            raise CutError(f"cut after {self._have()} of {total or 'unknown'} bytes") from error
        if have > limit:
            self.forget()
            raise OSError(f"the answer goes on after {limit} bytes: nothing of it is kept")


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    """Return the first byte that an answer brings, and how many the whole has."""
    told = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (?:(\d{1,15})-\d{1,15}|\*)/(\d{1,15})", told)
    return (match[1] and int(match[1]), int(match[2])) if match else (None, None)  # type: ignore


def _version(response: requests.Response, is_verified: bool) -> str:
    """Return what If-Range may quote: a strong ETag, else the date of the last change, or ""."""
    for name in ("ETag", "Last-Modified"):
        if _is_version(version := response.headers.get(name, ""), is_verified):
            return version
    return ""


def _is_version(text: str, is_verified: bool) -> bool:
    """Return whether a part of this version may be continued.

    A date has whole seconds, so that two versions may have one: it does only where a hash follows.
    """
    is_strong = re.fullmatch(r'"[\x21-\x7e]{1,200}"', text)
    return bool(is_strong or (is_verified and re.fullmatch(r"[A-Za-z0-9 :,+-]{1,60}", text)))
