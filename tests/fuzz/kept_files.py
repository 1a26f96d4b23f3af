"""Damaged files that are written or fetched here: rows, records, archives, weights, downloads."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medsam_utils.contents import content_hashes
from medsam_utils.datasets import fetch, listings, unpack
from medsam_utils.download import download
from medsam_utils.models.checkpoints import Checkpoint, check_tensors, load_state_dict
from medsam_utils.models.embeddings import EmbeddingStore
from medsam_utils.results import Store, as_rows
from tests.local_server import serving, sha256

from .outcomes import Trial, damage


def store(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """A part of stored rows: rows come back as they were, or not at all and the part is named."""
    records = [
        {"dataset": "d", "task": task, "case_id": str(case), "click": click, "iou": click / 7}
        for case in range(4)
        for task in ("a", "b")
        for click in (1, 2, 3)
    ]
    whole = dict.fromkeys(("components", "row", "col", "ties", "mask_index"), 0)
    rows = as_rows([whole | {"positive": True} | record for record in records])
    rows = rows.assign(fingerprint=rows["case_id"])
    for half in (rows[:12], rows[12:]):
        with Store(folder, "d", "m", "p") as kept:
            kept.append(half)
    path = min(kept.folder.glob("part-*.parquet"))
    content = path.read_bytes()

    def read() -> tuple[pd.DataFrame, list[str]]:
        again = Store(folder, "d", "m", "p")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return again.read(set(rows["fingerprint"]), 3), again.set_aside

    def is_same(found: tuple[pd.DataFrame, list[str]]) -> bool:
        table, set_aside = found
        expected = rows[rows["case_id"].isin(table["case_id"])].reset_index(drop=True)
        table = table.sort_values(["case_id", "task", "click"]).reset_index(drop=True)
        is_told = len(table) == 24 or set_aside == [path.name]
        return is_told and table.equals(expected[table.columns])

    while True:
        kind, damaged = damage(content, rng)
        path.write_bytes(damaged)
        yield kind, read, is_same


def records(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Recorded hashes and what the cache folder keeps: refused, or made again, never believed."""
    (folder / "kept").mkdir(exist_ok=True)
    noted = {"a.zip": "0123456789abcdef" * 4, "b.zip": "fedcba9876543210" * 4}
    record = folder / "kept/hashes.json"
    file = folder / "data.bin"
    file.write_bytes(b"content")
    listings.SETTLED = -60
    hashes = content_hashes([file], folder)
    entry = next(listings.cache_folder().glob("contents/*.json"))
    embeddings = EmbeddingStore(folder / "embeddings")
    array = embeddings.get("ab", lambda: np.arange(50))
    stored = folder / "embeddings/ab/ab.sealed"
    kinds = [
        (record, json.dumps(noted).encode(), lambda: fetch._recorded(record.parent), None),
        (entry, entry.read_bytes(), lambda: content_hashes([file], folder), hashes),
        (stored, stored.read_bytes(), lambda: embeddings.get("ab", lambda: array), array),
    ]
    while True:
        path, content, read, expected = kinds[rng.integers(len(kinds))]
        path.write_bytes(damage(content, rng)[1])
        # A hash that is noted has nothing that tells it is another one: a download does not fit it.
        yield (
            f"{path.suffix[1:]}" if expected is not None else "noted hashes",
            read,
            lambda found, expected=expected: expected is None or np.all(found == expected),
        )


def archives(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Archives: what is unpacked is what was packed, or nothing is."""
    files = {f"top/{i}.png": rng.bytes(300) * 5 for i in range(6)}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            methods = [
                zipfile.ZIP_STORED,
                zipfile.ZIP_DEFLATED,
                zipfile.ZIP_LZMA,
                zipfile.ZIP_BZIP2,
            ]
            archive.writestr(name, content, methods[i % 4])
    whole = {"zip": packed.getvalue()}
    for mode in ("", "gz", "bz2", "xz"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=f"w:{mode}", format=tarfile.PAX_FORMAT) as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = len(content), {"comment": "x" * 200}
                archive.addfile(info, io.BytesIO(content))
        whole[f"tar.{mode}".rstrip(".")] = packed.getvalue()
    expected = sorted(files.values())
    while True:
        name = str(rng.choice(list(whole)))
        _, damaged = damage(whole[name], rng)
        path, target = folder / f"a.{name if name != 'tar.xz' else 'tar'}", folder / "out"
        path.write_bytes(damaged)

        def read(path: Path = path, target: Path = target) -> list[bytes]:
            try:
                unpack.unpack(path, target)
                return sorted(p.read_bytes() for p in target.rglob("*") if p.is_file())
            finally:
                shutil.rmtree(target, ignore_errors=True)

        yield name, read, lambda found: found == expected


def weights(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """Weights: the network has the saved numbers, or they are refused."""
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5))
    state = network.state_dict()
    whole = {}
    for is_zip in (True, False):
        packed = io.BytesIO()
        torch.save(state, packed, _use_new_zipfile_serialization=is_zip)
        whole["zip" if is_zip else "before torch 1.6"] = packed.getvalue()
    path = folder / "w.pt"

    def read() -> dict[str, torch.Tensor]:
        found = check_tensors(load_state_dict(path), network, path)
        return {name: found.get(name) for name in state}

    def is_same(found: dict[str, Any]) -> bool:
        # Missing and misshapen ones are told where the network takes them.
        return all(
            found[name] is None or found[name].shape != value.shape or found[name].equal(value)
            for name, value in state.items()
        )

    while True:
        name = str(rng.choice(list(whole)))
        path.write_bytes(damage(whole[name], rng)[1])
        yield name, read, is_same


def downloads(rng: np.random.Generator, folder: Path) -> Iterator[Trial]:
    """A server that cuts, shifts, changes its file, tells no length, or never ends."""
    versions = [rng.bytes(3000), rng.bytes(3000)]
    record = folder / "w.bin.sha256"
    time.sleep = lambda _: None  # type: ignore[assignment]  # no pauses between attempts
    with serving() as server:
        while True:
            shutil.rmtree(folder)
            folder.mkdir()
            server.files["/w.bin"] = versions[0]
            server.cuts = [int(n) for n in rng.integers(0, 3500, rng.integers(8))]
            server.statuses = [int(n) for n in rng.choice([200, 200, 204, 302, 416, 503], 3)]
            server.ranges, server.overlooks, server.chunked, server.tells_length = (
                bool(rng.random() < share) for share in (0.8, 0.3, 0.3, 0.8)
            )
            server.shift = int(rng.choice([0, 0, 0, 7]))
            is_known, path = bool(rng.random() < 0.5), folder / "w.bin"
            size = 3000 if rng.random() < 0.3 else None
            if rng.random() < 0.3:
                (folder / "w.bin.part").write_bytes(versions[1][: rng.integers(1, 3000)])
                note = damage(f'"{sha256(versions[1])[:8]}"'.encode(), rng)[1]
                (folder / "w.bin.part.version").write_bytes(note)
            if rng.random() < 0.3:
                record.write_bytes(damage(f"{sha256(versions[0])}  w.bin\n".encode(), rng)[1])

            def read(
                path: Path = path, is_known: bool = is_known, size: int | None = size
            ) -> bytes:
                if record.exists():
                    _ = Checkpoint(path).expected_sha256
                known = sha256(versions[0]) if is_known else None
                return download(f"{server.url}/w.bin", path, known, size).read_bytes()

            yield "known hash" if is_known else "no hash", read, lambda found: found in versions


KEPT = {f.__name__: f for f in (store, records, archives, weights, downloads)}
