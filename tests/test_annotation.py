"""Annotations as files: masks lie where the source's own labels lie, sessions come back exactly."""

from __future__ import annotations

import gzip
import io
import json

import nibabel
import numpy as np
import pytest
from PIL import Image
from test_explorer import HOSTILE, mask_of, write_folder

from medsam_utils import DATASETS, load_dataset, load_folder
from medsam_utils.book.explorer.annotation import Annotation, coco, image_name, mask_png, nifti
from medsam_utils.book.explorer.annotation_files import files_of, write_files
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.book.explorer.run_lengths import from_run_lengths, run_lengths
from medsam_utils.case import BadInputError
from medsam_utils.datasets.dicom import read_series
from medsam_utils.datasets.scans import Scan
from medsam_utils.datasets.sources import PACKAGES
from medsam_utils.datasets.unlabelled import load_images
from medsam_utils.datasets.volume_files import find_cut, read_volume
from medsam_utils.datasets.volumes import Volumes
from medsam_utils.files import file_name

VOLUMES = [
    name
    for name, dataset in DATASETS.items()
    if isinstance(dataset.reader, Volumes) and name not in PACKAGES  # they have no phantoms
]


def annotation(case, class_name, mask, clicks=((1, 2, 1),)):
    prompts = {
        "model": "sam_small",
        "clicks": [list(c) for c in clicks],
        "box": None,
        "candidate": 0,
    }
    return Annotation(
        "Title",
        "Task",
        case,
        class_name,
        **prompts,
        size=list(mask.shape),
        counts=run_lengths(mask),
    )


def opened(content: bytes):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def by_volume(dataset, class_name):
    """The truth of all slices of each volume as annotations: volume's images -> [(annotation,
    reference)]."""
    volumes = {}
    for reference in dataset.list().references:
        mask = dataset.load(reference, class_name).masks[class_name]
        one = annotation(reference.case_id, class_name, mask)
        volumes.setdefault(reference.images, []).append((one, reference))
    return list(volumes.values())


@pytest.mark.parametrize("name", VOLUMES)
def test_the_truth_of_every_slice_exported_is_the_datasets_own_label_file(name, monkeypatch):
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    dataset = load_dataset(name)
    class_name = list(dataset.classes)[-1]
    for members in by_volume(dataset, class_name):
        _, reference = members[0]
        labels = [nibabel.load(path) for path in reference.masks]
        votes = [
            np.isin(np.asarray(label.dataobj), dataset.classes[class_name]) for label in labels
        ]
        expected = np.sum(votes, axis=0) > len(votes) // 2
        image, source = opened(nifti(members, dataset)), nibabel.load(reference.images[0])
        assert image.shape == source.shape and image.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(image.affine, source.affine)
        np.testing.assert_array_equal(np.asarray(image.dataobj), expected.reshape(source.shape))


@pytest.mark.filterwarnings("ignore:.*the masks' positions run on")
def test_the_truth_of_a_dicom_series_is_a_volume_on_its_grid(monkeypatch):
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    dataset = load_dataset("mri_prostate_i2cvb")
    members = by_volume(dataset, "prostate")[0]
    _, reference = members[0]
    grid = read_series(reference.images)
    scan = Scan("", "", reference.images, reference.masks)
    expected = dataset.reader.read_masks(scan, grid, dataset.classes, 128)["prostate"]
    image = opened(nifti(members, dataset))
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-4)  # NIfTI holds single precision
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1), (6, 5)], ids=str)
def test_an_oblique_header_is_kept_exactly_and_its_text_is_not(tmp_path, shape):
    turn = nibabel.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([-1.1, 0.7, 2.5])
    affine = nibabel.affines.from_matvec(turn, [12.3, -45.6, 7.8])
    image = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), affine)
    image.set_qform(affine, 1)
    image.set_sform(None, 0)
    image.header.set_slope_inter(0.5, -100)
    image.header["descrip"], image.header["aux_file"] = b"DOE^JOHN", b"1970-01-01"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"DOE^JOHN"))
    nibabel.save(image, tmp_path / "v.nii.gz")
    dataset = load_images(tmp_path / "v.nii.gz")
    reference = dataset.list().references[-1]
    mask = np.zeros(dataset.load(reference).image.shape[:2], bool)
    mask[0, 1] = True
    content = nifti([(annotation("c", "x", mask), reference)], dataset)
    out, source = opened(content), nibabel.load(tmp_path / "v.nii.gz")
    assert out.shape == shape and np.asarray(out.dataobj).sum() == 1 and out.dataobj.slope == 1
    np.testing.assert_array_equal(out.affine, source.affine)
    for field in ("qform_code", "sform_code", "pixdim", "quatern_b", "xyzt_units"):
        np.testing.assert_array_equal(out.header[field], source.header[field])
    assert b"DOE" not in gzip.decompress(content) and b"1970" not in gzip.decompress(content)


def test_a_flat_image_is_one_upright_slice_and_a_picture(tmp_path):
    root = write_folder(tmp_path, ["a"], (60, 48))
    dataset = load_folder(root)
    (reference,) = dataset.list().references
    mask = dataset.load(reference).masks["object"]
    one = annotation("a", "object", mask)
    (tmp_path / "a.nii.gz").write_bytes(nifti([(one, reference)], dataset))
    volume = read_volume(tmp_path / "a.nii.gz")
    cut = find_cut(volume.values.shape, volume.affine, "axial", tmp_path)
    assert volume.values.shape == (48, 60, 1) and np.array_equal(cut.slice(volume.values, 0), mask)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask_png(one)))), mask * np.uint8(255))


def test_a_mask_of_another_size_than_its_slice_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4), np.uint8), np.eye(4)), tmp_path / "v.nii")
    dataset = load_images(tmp_path / "v.nii")
    reference = dataset.list().references[0]
    with pytest.raises(BadInputError, match="the image has changed since"):
        nifti([(annotation("c", "x", np.ones((6, 6), bool)), reference)], dataset)


def test_coco_holds_masks_boxes_and_areas_by_image_and_class():
    mask = np.zeros((30, 40), bool)
    mask[3:9, 5:20] = mask[8:12, 5:7] = True
    names = {("Title", case): {"file_name": f"{case}.png"} for case in "ab"}
    marked = [annotation("a", "cyst", mask), annotation("b", "blood", ~mask)]
    made = json.loads(json.dumps(coco(marked, names)))
    assert [c["name"] for c in made["categories"]] == ["blood", "cyst"]
    assert [(i["file_name"], i["height"], i["width"]) for i in made["images"]] == [
        ("a.png", 30, 40),
        ("b.png", 30, 40),
    ]
    first, second = made["annotations"]
    assert (first["image_id"], first["category_id"], first["bbox"], first["area"]) == (
        1,
        2,
        [5, 3, 15, 9],
        96,
    )
    assert (second["image_id"], second["category_id"], second["area"]) == (2, 1, 1200 - 96)
    assert np.array_equal(
        mask_of(first["segmentation"]["counts"], first["segmentation"]["size"]), mask
    )
    assert first["prompts"]["clicks"] == [[1, 2, 1]]


def names_of(dataset):
    return [image_name(dataset, reference) for reference in dataset.list().references]


def test_coco_names_flat_images_by_their_paths_below_images(tmp_path):
    root = write_folder(tmp_path, ["a"], (60, 48))
    for part in ("images", "masks"):
        (root / part / "patient").mkdir()
        (path,) = (root / part).glob("a.*")
        path.rename(root / part / "patient" / path.name)
    (name,) = names_of(load_folder(root))
    assert name["file_name"].startswith("patient/a.")
    assert (root / "images" / name["file_name"]).is_file()


def test_coco_names_a_picture_of_a_folder_without_images_below_that_folder(tmp_path):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(tmp_path / "b.tif")
    assert names_of(load_images(tmp_path)) == [{"file_name": "b.tif"}]


def test_coco_names_slices_by_their_volume_and_index(tmp_path):
    (tmp_path / "images").mkdir()
    volume = nibabel.Nifti1Image(np.zeros((6, 5, 2), np.uint8), np.eye(4))
    nibabel.save(volume, tmp_path / "images" / "v.nii.gz")
    assert names_of(load_images(tmp_path)) == [
        {"file_name": "v.nii.gz#z000", "slice_index": 0},
        {"file_name": "v.nii.gz#z001", "slice_index": 1},
    ]


@pytest.mark.filterwarnings("ignore:.*the masks' positions run on")
@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_coco_names_slices_of_a_series_by_their_files_if_there_are_such(plane, monkeypatch):
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    dataset = load_dataset("mri_prostate_i2cvb").read_with(plane=plane)
    reference = dataset.list().references[0]
    name = image_name(dataset, reference)
    is_file = (dataset.root / name["file_name"]).is_file()
    assert is_file == (plane == "axial")
    if not is_file:
        folder, mark = name["file_name"].split("#")
        assert (dataset.root / folder).is_dir() and mark == f"z{reference.slice_index:03d}"


@pytest.mark.parametrize("text", ["13", "", "4o", "0000"])
def test_damaged_run_lengths_are_refused(text):
    with pytest.raises(BadInputError, match="do not fill"):
        from_run_lengths(text, (5, 5))


def test_file_names_are_safe_and_never_the_same(tmp_path):
    nasty = [
        *HOSTILE,
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a__b",
        "..",
        "",
        "CON",
        "x" * 300,
        "é",
        "e\u0301",
    ]
    names = [file_name("Set", part, "lesion") for part in nasty] + [
        file_name("Set", "a", "b__lesion")
    ]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert name.isascii() and len(name) < 200 and not set(name) & set("/\\:*?\"<>|' ")
        write_files(tmp_path, {name: lambda: b"x"})
    assert len(list(tmp_path.iterdir())) == len(names)
    assert file_name("MRI-Spine", "site1_z003", "GM") == "MRI-Spine__site1_z003__GM"


def test_names_that_differ_in_case_alone_are_files_that_no_file_system_takes_for_one(tmp_path):
    dataset = load_folder(write_folder(tmp_path, ["a"]))
    (reference,) = dataset.list().references
    session = {
        "annotations": [
            vars(annotation("a", name, np.ones((60, 48), bool))) for name in ("Cyst", "cyst", "b")
        ]
    }
    names = list(files_of(session, lambda title, case: (dataset, reference), ["png"]))
    assert len({name.casefold() for name in names}) == 4
    assert "Title__a__b.png" in names, "others keep their names"


# ---- a whole session, in the explorer


@pytest.fixture
def hostile(tmp_path):
    return load_folder(
        write_folder(tmp_path / "own", HOSTILE, spill=4), name='</script>"My \' study"'
    )


def annotated(dataset):
    """An explorer in which two objects were prompted, the first accepted under a name of one's
    own."""
    explorer = Explorer(dataset, ["grabcut"], state={"case": HOSTILE[0], "class": "<b>cyst</b>"})
    explorer.state = {**explorer.state, "clicks": [[12, 18, 1]]}
    explorer.state = {**explorer.state, "box": [4, 6, 24, 28]}
    explorer.accept()
    explorer.state = {**explorer.state, "clicks": [[12, 18, 1], [2, 2, 0]]}
    explorer.state = {"case": HOSTILE[1], "clicks": [[12, 22, 1]], "candidate": {"grabcut": 0}}
    return explorer


def test_a_session_comes_back_exactly_and_undo_goes_on_from_there(hostile, tmp_path):
    explorer = annotated(hostile)
    paths = explorer.save(tmp_path / "out")
    again = Explorer(hostile, ["grabcut"])
    again.resume(tmp_path / "out")
    assert again.session == explorer.session and again.answers == explorer.answers
    before = {path: path.read_bytes() for path in paths}
    assert again.save(tmp_path / "out") == paths  # its own files may be renewed
    assert {path: path.read_bytes() for path in paths} == before
    again.state = {
        "case": HOSTILE[0],
        "class": "<b>cyst</b>",
    }  # what it was prompted with is there again
    assert again.state["clicks"] == [[12, 18, 1], [2, 2, 0]] and again.state["box"] == [
        4,
        6,
        24,
        28,
    ]
    steps = []
    for _ in range(4):
        again.undo()
        steps.append((again.state["clicks"], again.state.get("box")))
    assert steps == [([[12, 18, 1]], [4, 6, 24, 28]), ([[12, 18, 1]], None), ([], None), ([], None)]


def test_a_session_is_saved_as_files_of_every_format_with_hostile_names(hostile, tmp_path):
    explorer = annotated(hostile)
    accepted = explorer.session["annotations"][0]
    mask = mask_of(accepted["counts"], accepted["size"])
    names = sorted(path.name for path in explorer.save(tmp_path / "out"))
    assert {"coco.json", "session.json"} < set(names) and len(names) == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    (picture,), (volume,) = (list((tmp_path / "out").glob(p)) for p in ("*.png", "*.nii.gz"))
    assert np.array_equal(np.asarray(Image.open(picture)) > 0, mask) and mask.any()
    assert np.array_equal(np.asarray(nibabel.load(volume).dataobj)[..., 0].T > 0, mask)
    saved = json.loads((tmp_path / "out" / "coco.json").read_text(encoding="utf-8"))
    assert saved["categories"][0]["name"] == "<b>cyst</b>"
    (shown,) = saved["images"]
    assert shown["case"] == HOSTILE[0]
    assert (hostile.root / "images" / shown["file_name"]).is_file()


def test_files_of_others_are_never_overwritten_silently_and_own_ones_follow(hostile, tmp_path):
    explorer, out = annotated(hostile), tmp_path / "out"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "coco.json").write_text("precious")
    with pytest.raises(BadInputError, match=r"coco\.json exists already"):
        explorer.save(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == [
        "coco.json"
    ]  # nothing was written
    assert explorer.save(tmp_path / "other", replace=True)
    with pytest.raises(BadInputError, match="exists already"):
        annotated(hostile).save(tmp_path / "other")
    explorer.save(out, ["png"])
    explorer.withdraw(*('</script>"My \' study"',) * 2, HOSTILE[0], "<b>cyst</b>")
    explorer.save(out, ["png"])
    assert [path.name for path in out.iterdir()] == ["session.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.update(version=99), "version is 99"),
        (lambda s: s["annotations"][0].update(counts="13"), "do not fill"),
        (lambda s: s["annotations"][0].update(case="nobody"), "'nobody' of"),
        (lambda s: s["state"].update(dataset="another"), "of 'another' is not among"),
        (lambda s: s.pop("objects"), "no session to resume"),
        (lambda s: s["annotations"][0].update(number=0), "the number of an object in it is 0"),
        (lambda s: s["objects"][0].update(number="2"), "the number of an object in it is '2'"),
    ],
)
def test_a_session_that_does_not_fit_is_refused_and_changes_nothing(
    hostile, tmp_path, change, reason
):
    session = annotated(hostile).session
    change(session)
    (tmp_path / "session.json").write_text(json.dumps(session), encoding="utf-8")
    explorer = Explorer(hostile, ["grabcut"])
    before = explorer.session
    with pytest.raises(BadInputError, match=reason):
        explorer.resume(tmp_path)
    assert explorer.session == before


def test_without_a_mask_nothing_is_accepted(hostile):
    explorer = Explorer(hostile, ["grabcut"])
    explorer._receive(explorer, {"accept": ["grabcut"]}, [])
    assert "no mask" in explorer.notice and explorer.accepted == []


def test_slices_of_a_volume_are_annotated_without_any_mask_and_saved_as_one_file(tmp_path):
    values = np.zeros((30, 24, 3), np.int16)
    values[8:20, 6:15] = 500
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, 2, 5, 1])), tmp_path / "v.nii.gz")
    explorer = Explorer(tmp_path / "v.nii.gz", ["grabcut"])
    for index in (0, 2):
        explorer.state = {"case": f"v.nii.gz_z{index:03d}", "clicks": [[13, 13, 1]]}
        assert explorer.scene["truth"] is None and explorer.answers[0]["mask"]
        explorer.accept()
    (volume,) = (p for p in explorer.save(tmp_path / "out") if p.suffix == ".gz")
    saved = np.asarray(nibabel.load(volume).dataobj)
    assert saved.shape == values.shape and saved.any(axis=(0, 1)).tolist() == [True, False, True]
    assert (
        explorer.state["case"] == "v.nii.gz_z002"
        and repr(str(tmp_path / "v.nii.gz")) in explorer.choices["code"]
    )
