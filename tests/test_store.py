"""Stored rows: whole after a loss of power, never damaged ones, and those of the same files."""

import io
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.case import BadInputError
from medsam_utils.contents import content_hashes
from medsam_utils.datasets import listings
from medsam_utils.results import PART_TYPES, Store, _part_name, _read_part, as_rows


def case_of(fingerprint: str, clicks: int = 2, tasks: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """Rows of a case as the store takes them; their IoU are 0, 0.01, 0.02 ..."""
    records = [
        {
            "dataset": "own",
            "task": task,
            "case_id": fingerprint,
            "model": "m",
            "protocol": "p",
            "click": click,
            "row": 10 * i,
            "iou": i / 100,
        }
        for i, (task, click) in enumerate((t, n + 1) for t in tasks for n in range(clicks))
    ]
    whole = dict.fromkeys(("components", "col", "ties", "mask_index"), 0)
    return as_rows([whole | {"positive": True} | record for record in records]).assign(
        fingerprint=pd.Series([fingerprint] * len(records), dtype="string")
    )


@pytest.fixture
def store(tmp_path):
    """A store with two parts: the cases one and two, and the case three."""
    store = Store(tmp_path / "store", "own", "m", "p")
    for names in (("one", "two"), ("three",)):
        with store:
            for name in names:
                store.append(case_of(name))
    return store


CASES = ("one", "two", "three")


def read(store: Store, clicks: int = 2) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a store that is opened anew, and what it sets aside."""
    again = Store(store.folder.parents[2], "own", "m", "p")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return again.read(CASES, clicks), again.set_aside


def parts(store: Store) -> list[Path]:
    return sorted(store.folder.glob("part-*.parquet"))


def replace_part(path: Path, rows: pd.DataFrame) -> Path:
    """Write other rows in place of a part, under the name that belongs to them."""
    content = rows.to_parquet(index=False)
    path.unlink()
    path = path.with_name(_part_name(content))
    path.write_bytes(content)
    return path


def part_of(store: Store, case: str) -> Path:
    return next(path for path in parts(store) if case in set(pd.read_parquet(path)["fingerprint"]))


def test_what_is_stored_comes_back_with_the_types_of_rows(store):
    rows, set_aside = read(store)
    assert rows.groupby("fingerprint")["iou"].apply(list).to_dict() == {
        name: [0, 0.01, 0.02, 0.03] for name in CASES
    }
    assert rows.dtypes.astype(str).to_dict() == {
        name: kind for name, kind in PART_TYPES.items() if name != "case_rows"
    }
    assert set_aside == []


def damaged_parts(content: bytes) -> Iterator[bytes]:
    """2,000 single-bit flips; a cut every 97 bytes, and the same with zeros instead of the rest."""
    for bit in np.random.default_rng(0).choice(8 * len(content), 2000, replace=False):
        yield (
            content[: bit // 8]
            + bytes([content[bit // 8] ^ 1 << bit % 8])
            + content[bit // 8 + 1 :]
        )
    for length in range(0, len(content), 97):
        yield content[:length]
        yield content[:length] + bytes(len(content) - length)


def test_every_flipped_bit_and_every_cut_of_a_part_is_found(store):
    path = part_of(store, "three")
    content = path.read_bytes()
    for damaged in damaged_parts(content):
        path.write_bytes(damaged)
        assert _read_part(path) is None
    path.write_bytes(content)
    assert _read_part(path).num_rows == 4


@pytest.mark.parametrize("damage", [b"", b"PAR1", bytes(5000)])
def test_a_damaged_part_is_set_aside_and_the_others_are_read(store, damage):
    path = part_of(store, "three")
    path.write_bytes(damage)
    rows, set_aside = read(store)
    assert set(rows["fingerprint"]) == {"one", "two"} and set_aside == [path.name]
    assert path.with_suffix(".aside").read_bytes() == damage and not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.drop(columns="dice"),
        lambda rows: rows.assign(iou=rows["iou"].astype("float32")),
        lambda rows: rows.assign(click=rows["click"].astype("string")),
        lambda rows: rows.assign(further=1),
        lambda rows: rows.drop(columns="fingerprint"),
        lambda rows: rows[rows["click"] == 1],
        lambda rows: rows[rows["task"] == "a"],
        lambda rows: rows.iloc[1:],
        lambda rows: rows.assign(click=rows["click"] + 1),
        lambda rows: rows.assign(click=1),
    ],
    ids=[
        *("a column less", "another type", "text", "a column more", "no fingerprint"),
        *("a click less", "a task less", "a row less", "other clicks", "one click twice"),
    ],
)
def test_a_part_with_other_columns_or_without_some_rows_is_set_aside(store, change):
    rows = pd.read_parquet(part_of(store, "three"))
    path = replace_part(part_of(store, "three"), change(rows))
    found, set_aside = read(store)
    assert set(found["fingerprint"]) == {"one", "two"}
    assert found["iou"].dtype == float and found["click"].dtype == int
    assert set_aside == [path.name]
    assert path.with_suffix(".aside").exists() and not path.exists()


def test_rows_with_other_numbers_of_clicks_are_not_those_of_this_run(store):
    assert read(store, clicks=3)[0].empty


def test_a_part_of_another_run_is_left_alone(store):
    with store:
        store.append(case_of("of another number of clicks", clicks=5))
    assert read(store)[1] == []


def test_a_case_stored_twice_is_read_once(store):
    with store:
        store.append(case_of("three"))
        store.append(case_of("four"))
    assert len(read(store)[0]) == 3 * 4


def test_a_part_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda f: (done.append(os.readlink(f"/proc/self/fd/{f}")), fsync(f))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    with Store(tmp_path / "new/store", "own", "m", "p") as store:
        store.append(case_of("one"))
    assert len(parts(store)) == 1
    renamed = done.index("rename")
    assert any(name.endswith(".part") for name in done[:renamed])
    assert str(store.folder) in done[renamed:]
    for above in (tmp_path, tmp_path / "new", *store.folder.parents[:3]):
        assert str(above) in done[:renamed], "a folder that was made is on the disk, too"


def test_a_store_that_cannot_be_written_is_told(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadInputError, match=r"own/m/p: the store cannot be written \(No space"):  # noqa: SIM117
        with store:
            store.append(case_of("four"))


# Runs


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Six images with a bright disk on noise, and an empty mask."""
    root = tmp_path_factory.mktemp("data") / "own"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(6):
        mask = np.zeros((40, 50), np.uint8)
        cv2.circle(mask, (20 + i, 20), 6 + i, 255, -1)
        noise = np.random.default_rng(i).normal(60, 10, mask.shape)
        cv2.imwrite(
            str(root / f"images/{i}.png"), (noise + mask // 2).clip(0, 255).astype(np.uint8)
        )
        cv2.imwrite(str(root / f"masks/{i}.png"), mask)
    cv2.imwrite(str(root / "images/empty.png"), np.zeros((40, 50), np.uint8))
    cv2.imwrite(str(root / "masks/empty.png"), np.zeros((40, 50), np.uint8))
    return root


@pytest.fixture
def run(tmp_path):
    model = load_model("grabcut")
    return lambda folder: evaluate(
        load_folder(folder, name="own"), model, clicks=2, store=tmp_path / "rows", executor=None
    )


def as_bytes(rows: pd.DataFrame) -> bytes:
    buffer, plain = io.BytesIO(), rows.copy()
    plain.attrs = {}
    plain.to_parquet(buffer, index=False)
    return buffer.getvalue()


@pytest.fixture
def copy(images, tmp_path):
    return shutil.copytree(images, tmp_path / "copy/own")


def test_after_a_loss_of_power_the_rows_are_those_of_an_uninterrupted_run(
    images, run, tmp_path, monkeypatch
):
    monkeypatch.setattr("medsam_utils.results.FLUSH_SECONDS", 0)  # a part for each case
    expected = as_bytes(run(images))
    folder = tmp_path / "rows/own/grabcut/paper"
    stored = sorted(folder.glob("part-*.parquet"))
    assert len(stored) == 6
    for i, path in enumerate(stored):  # empty, cut, full of zeros; then the record, too
        content = path.read_bytes()
        path.write_bytes([b"", content[: i * len(content) // 6], bytes(len(content))][i % 3])
    for record in folder.glob("run-*.json"):
        record.write_bytes(b"")
    (folder / ".part-1.parquet.2.part").write_bytes(b"PAR1")
    with pytest.warns(UserWarning, match="set aside, and its cases are computed again"):
        rows = run(images)
    assert as_bytes(rows) == expected
    assert rows.attrs["record"]["set_aside"] == [path.name for path in stored]
    (record,) = (path for path in folder.glob("run-*.json") if path.stat().st_size)
    assert json.loads(record.read_text())["set_aside"] == [path.name for path in stored]
    assert run(images).attrs["record"]["set_aside"] == []


class PowerLossError(BaseException):
    """The machine stops."""


class Disk:
    """Keeps what a loss of power leaves: of a file what was synced, of a folder its synced names.

    Stops at the `last`-th call that writes: of os.fsync, os.replace and Path.write_bytes.
    """

    def __init__(self, monkeypatch, root, last):
        self.root, self.last, self.calls = root, last, 0
        self.synced: dict[str, bytes] = {}  # content on the disk, by name
        self.renamed: dict[str, str] = {}  # names that the folder's own sync has not seen yet
        fsync, replace, write_bytes = os.fsync, os.replace, Path.write_bytes

        def fsync_kept(handle):
            self.count()
            name = os.readlink(f"/proc/self/fd/{handle}")
            if os.path.isdir(name):
                self.renamed = {n: o for n, o in self.renamed.items() if os.path.dirname(n) != name}
            else:
                self.synced[name] = Path(name).read_bytes()
            fsync(handle)

        def replace_kept(source, target):
            self.count()
            replace(source, target)
            self.synced[str(target)] = self.synced.pop(str(source), b"")
            self.renamed[str(target)] = str(source)

        def write_kept(path, content):
            self.count()
            return write_bytes(path, content)

        monkeypatch.setattr(os, "fsync", fsync_kept)
        monkeypatch.setattr(os, "replace", replace_kept)
        monkeypatch.setattr(Path, "write_bytes", write_kept)
        self.undo = monkeypatch.undo

    def count(self):
        self.calls += 1
        if self.calls == self.last:
            raise PowerLossError

    def lose_power(self, rng):
        """Leave of each file what is on the disk, and of what is not any part of it."""
        self.undo()
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and str(path) not in self.synced:
                content = path.read_bytes()
                kept = int(rng.integers(len(content) + 1))
                tail = bytes(len(content) - kept) if rng.random() < 0.5 else b""
                path.write_bytes(content[:kept] + tail)
        for name, old in self.renamed.items():
            if rng.random() < 0.5 and os.path.exists(name):
                os.rename(name, old)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it asks /proc which file is synced")
def test_a_loss_of_power_at_every_write_leaves_a_store_that_goes_on(
    images, run, tmp_path, monkeypatch
):
    """The rows are those of an uninterrupted run, and what was stored before is not computed."""
    expected = as_bytes(run(images))
    shutil.rmtree(tmp_path / "rows")
    rng, last, ends = np.random.default_rng(0), 0, 0
    while not ends:
        last += 1
        with monkeypatch.context() as patched:
            patched.setattr("medsam_utils.results.FLUSH_SECONDS", 0)  # a part for each case
            disk = Disk(patched, tmp_path, last)
            try:
                run(images)
                ends = disk.calls
            except PowerLossError:
                disk.lose_power(rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert as_bytes(run(images)) == expected, f"power was lost at write {last}"
        shutil.rmtree(tmp_path / "rows", ignore_errors=True)
    assert ends > 6 * 4  # of each part: written, synced, renamed, its folder synced


def test_a_finished_store_that_may_only_be_read_is_read_though_a_case_is_excluded(
    images, run, monkeypatch
):
    expected = run(images)
    assert [case["case_id"] for case in expected.attrs["excluded"]] == ["empty"]

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    for name in ("replace", "fsync", "mkdir"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert as_bytes(run(images)) == as_bytes(expected)


def test_a_mask_changed_in_place_with_its_time_kept_is_computed_anew_and_only_that(run, copy):
    run(copy)
    path = copy / "masks/3.png"
    before, mask = path.stat(), cv2.imread(str(path), 0)
    cv2.imwrite(str(path), mask[:, ::-1])
    path.write_bytes(path.read_bytes().ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(copy).attrs["record"]["computed"] == 2, "the changed one and the empty one"


def test_another_folder_of_the_same_name_and_times_gets_rows_of_its_own(images, run, copy):
    first = run(images)
    for path in (copy / "masks").iterdir():
        status, mask = path.stat(), cv2.imread(str(path), 0)
        cv2.imwrite(str(path), mask[::-1, ::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = run(copy)
    assert second.attrs["record"]["computed"] == 7
    assert as_bytes(second) != as_bytes(first)


def test_the_same_files_in_another_place_have_the_same_rows(images, run, copy, tmp_path):
    expected = run(images)
    moved = run(copy)
    assert moved.attrs["record"]["computed"] == 1, "the empty one"
    assert as_bytes(moved) == as_bytes(expected)
    shutil.rmtree(tmp_path / "rows")
    assert as_bytes(run(copy)) == as_bytes(expected), "and they are those of that place"


# Content


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file that is hashed and was left alone for some time, and a cache of its own."""
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(listings, "SETTLED", -60)
    path = tmp_path / "data.bin"
    path.write_bytes(b"abc")
    content_hashes([path], tmp_path)
    return path


def reads(monkeypatch) -> list[Path]:
    from medsam_utils import contents

    read, hashed = [], contents._content_hash
    monkeypatch.setattr(contents, "_content_hash", lambda path: read.append(path) or hashed(path))
    return read


def test_a_file_that_nobody_touched_is_read_once(file, monkeypatch):
    read = reads(monkeypatch)
    before = content_hashes([file], file.parent)
    assert read == []
    file.write_bytes(b"abd")
    assert content_hashes([file], file.parent) != before and read == [file]


@pytest.mark.parametrize("damage", [b"", b"{}", b"not sealed\n{}"])
def test_damaged_hashes_are_made_again(file, monkeypatch, damage):
    before = content_hashes([file], file.parent)
    (entry,) = file.parent.glob("cache/contents/*.json")
    entry.write_bytes(damage)
    read = reads(monkeypatch)
    assert content_hashes([file], file.parent) == before and read == [file]


def test_what_has_just_changed_is_read_again(file, monkeypatch):
    monkeypatch.setattr(listings, "SETTLED", 2)
    file.write_bytes(b"abd")
    read = reads(monkeypatch)
    for _ in range(2):
        content_hashes([file], file.parent)
    assert read == [file, file]


def test_what_cannot_be_read_is_never_the_same(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    paths = [tmp_path, tmp_path / "pipe", tmp_path / "link"]
    first, second = (content_hashes(paths, tmp_path) for _ in range(2))
    assert len({*first.values(), *second.values()}) == 6
