"""What was annotated comes back equal: as a folder that is evaluated, with several objects of a
class in one image, and as DICOM."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from test_explorer import mask_of, write_folder
from test_unlabelled import AFFINE, VOLUME, write_scan, write_volume

from medsam_utils import PAPER, evaluate, load_folder, load_images, load_model, next_click
from medsam_utils.book.explorer.annotation import Annotation
from medsam_utils.book.explorer.annotation_dicom import segmentation, structures
from medsam_utils.book.explorer.annotation_files import files_of, write_files
from medsam_utils.book.explorer.label_values import LabelValues
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.book.explorer.run_lengths import run_lengths
from medsam_utils.book.render.pages import copy_book
from medsam_utils.case import BadInputError
from medsam_utils.clicks import Click, click_rng

REPOSITORY = Path(__file__).resolve().parents[1]
ROWS, COLS = np.mgrid[:60, :48]


def square(top, left, side=8, shape=(60, 48)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


RING = (np.hypot(ROWS - 30, COLS - 24) < 15) & (np.hypot(ROWS - 30, COLS - 24) > 5)


def annotated(dataset, *objects):
    """A session of accepted masks: (case, class, mask) each, several of a class are numbered."""
    counts = {}
    made = []
    for case, name, mask in objects:
        counts[case, name] = number = counts.get((case, name), 0) + 1
        plain = {"model": "m", "clicks": [[1, 2, 1]], "box": None, "candidate": 0}
        size, text = list(mask.shape), run_lengths(mask)
        made.append(
            Annotation(
                dataset.title, "", case, name, **plain, size=size, counts=text, number=number
            )
        )
    return {"version": 2, "annotations": [vars(one) for one in made]}


def exported(dataset, folder, *objects, formats=("folder",)):
    """The folder with what was annotated, read again."""
    files = files_of(
        annotated(dataset, *objects), lambda _, case: (dataset, dataset[case]), formats
    )
    write_files(folder, files)
    return load_folder(folder)


def masks(dataset):
    """(case, class) -> mask, of all that is marked."""
    return {
        (reference.case_id, name): mask
        for reference in dataset
        for name, mask in dataset.load(reference).masks.items()
        if mask.any()
    }


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for key in found:
        np.testing.assert_array_equal(found[key], expected[key])


# ---- a folder that is evaluated


@pytest.fixture
def images(tmp_path):
    """Four images without masks; one is in a folder of its own."""
    root = write_folder(tmp_path / "own", ["a", "b", "p1/c", "d"])
    return load_images(root / "images")


def test_one_class_comes_back_under_its_name(images, tmp_path):
    objects = [("a.png", "cyst", RING), ("p1/c.png", "cyst", square(3, 4))]
    read = exported(images, tmp_path / "out", *objects)
    assert read.classes == {"cyst": (255,)}
    assert_equal(masks(read), {("a", "cyst"): RING, ("p1/c", "cyst"): square(3, 4)})
    for name in ("a", "p1/c"):
        original = (images.root / f"{name}.png").read_bytes()
        assert (tmp_path / "out/images" / f"{name}.png").read_bytes() == original


def test_classes_that_overlap_come_back_whole(images, tmp_path):
    disc = np.hypot(ROWS - 30, COLS - 24) < 10
    objects = [
        ("a.png", "liver", RING),
        ("a.png", "tumour", disc),
        ("b.png", "left lung", square(0, 0)),
    ]
    read = exported(images, tmp_path / "out", *objects)
    assert list(read.classes) == ["left lung", "liver", "tumour"]
    expected = {("a", "liver"): RING, ("a", "tumour"): disc, ("b", "left lung"): square(0, 0)}
    assert_equal(masks(read), expected)


def test_several_objects_of_a_class_are_cases_each(images, tmp_path):
    objects = [("a.png", "cell", square(2 + 12 * i, 5 + 9 * i)) for i in range(4)]
    read = exported(images, tmp_path / "out", *objects, ("b.png", "cell", RING))
    expected = {(f"a_i00{i + 1}", "cell"): mask for i, (_, _, mask) in enumerate(objects)}
    assert_equal(masks(read), {**expected, ("b_i001", "cell"): RING})


def test_objects_of_a_class_that_overlap_are_united(images, tmp_path):
    objects = [("a.png", "cell", square(2, 2, 20)), ("a.png", "cell", RING)]
    read = exported(images, tmp_path / "out", *objects)
    assert_equal(masks(read), {("a", "cell"): square(2, 2, 20) | RING})


def test_a_class_keeps_the_value_that_it_has_in_its_folder(tmp_path):
    dataset = load_folder(write_folder(tmp_path / "own", ["a", "b"], (60, 48), (1, 2)))
    objects = [("a", "label 2", RING), ("b", "other", square(1, 1))]
    files = files_of(
        annotated(dataset, *objects), lambda _, case: (dataset, dataset[case]), ["folder"]
    )
    written = np.asarray(Image.open(io.BytesIO(files["masks/a.png"]())))
    np.testing.assert_array_equal(written, RING * 2)
    assert files["label_values.txt"]() == b"label 2=2; other=3\n"


@pytest.mark.parametrize("names", [["a=b", "a;b"], ["a  b", "a b"], ["=", ";"]], ids=str)
def test_names_that_cannot_be_written_are_never_the_same(images, tmp_path, names):
    objects = [("a.png", names[0], RING), ("b.png", names[1], square(1, 1))]
    read = exported(images, tmp_path / "out", *objects)
    assert len(read.classes) == 2
    np.testing.assert_array_equal(
        masks(read)["a", list(read.classes)[sorted(names).index(names[0])]], RING
    )


def test_slices_of_a_volume_come_back_as_one_label_map_on_its_grid(tmp_path):
    write_volume(tmp_path / "own", "v")
    dataset = load_images(tmp_path / "own/images")
    disc = square(8, 6, 10, (30, 24))
    objects = [("v.nii.gz_z002", "liver", disc), ("v.nii.gz_z004", "spleen", ~disc)]
    read = exported(dataset, tmp_path / "out", *objects)
    assert_equal(masks(read), {("v_z002", "liver"): disc, ("v_z004", "spleen"): ~disc})
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out/masks/v.nii.gz").affine, AFFINE)


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_slices_of_a_dicom_series_come_back(tmp_path, plane):
    write_scan(tmp_path / "own/p1", "1.2.1")
    dataset = load_images(tmp_path / "own", plane=plane)
    shape = dataset.load("p1_z001").image.shape[:2]
    mask = np.zeros(shape, bool)
    mask[1:4, 3:9] = True
    files = files_of(
        annotated(dataset, ("p1_z001", "liver", mask)),
        lambda _, case: (dataset, dataset[case]),
        ["folder"],
    )
    write_files(tmp_path / "out", files)
    read = load_folder(tmp_path / "out", plane=plane)
    assert_equal(masks(read), {("p1_z001", "liver"): mask})
    assert len(list((tmp_path / "out/images/p1").iterdir())) == 5


def test_the_folder_itself_gets_the_masks_that_it_lacks(tmp_path):
    root = write_folder(tmp_path / "own", ["a", "b"])
    (root / "masks/b.png").unlink()
    before = {path: path.read_bytes() for path in root.rglob("*.png")}
    explorer = Explorer(root, ["grabcut"], state={"case": "b", "clicks": [[12, 18, 1]]})
    explorer.accept()
    mask = mask_of(explorer.answers[0]["mask"], (60, 48))
    explorer.save(root, ["folder"])
    assert {path: path.read_bytes() for path in before} == before
    np.testing.assert_array_equal(masks(load_folder(root))["b", "object"], mask)
    explorer.withdraw()
    explorer.save(root, ["folder"])  # images of the folder are never taken away
    assert {path: path.read_bytes() for path in root.rglob("*.png")} == before


def saved_beside(root, name, mask, case="b"):
    """An own folder in which a mask was saved beside those that were there, read again."""
    explorer = Explorer(root, ["grabcut"])
    dataset = load_folder(root)
    session = annotated(dataset, (case, name, mask))
    explorer.session = {**explorer.session, **session}
    explorer.save(root, ["folder"])
    return load_folder(root)


@pytest.mark.parametrize("values", [(1, 2), (2, 5), (255,), (200,), (1,)], ids=str)
def test_masks_that_were_there_mean_the_same_beside_the_new_ones(tmp_path, values):
    root = write_folder(tmp_path / "own", ["a", "b"], (60, 48), values)
    (root / "masks/b.png").unlink()
    before = load_folder(root)
    name = list(before.classes)[-1]
    read = saved_beside(root, name, RING)
    assert_equal(masks(read), {**masks(before), ("b", name): RING})


def test_a_new_class_beside_others_takes_no_value_of_theirs(tmp_path):
    root = write_folder(tmp_path / "own", ["a", "b"], (60, 48), (1, 2))
    (root / "masks/b.png").unlink()
    before = masks(load_folder(root))
    read = saved_beside(root, "cyst", RING)
    assert_equal(masks(read), {**before, ("b", "cyst"): RING})
    assert read.classes == {"label 1": (1,), "label 2": (2,), "cyst": (3,)}


def test_a_new_class_beside_masks_without_values_is_refused(tmp_path):
    root = write_folder(tmp_path / "own", ["a", "b"])
    (root / "masks/b.png").unlink()
    with pytest.raises(BadInputError, match="mark one class, without a value of its own"):
        saved_beside(root, "cyst", RING)
    assert not (root / "masks/b.png").exists()


def test_a_mask_of_someone_else_is_not_overwritten_after_a_session_was_resumed(tmp_path):
    root = write_folder(tmp_path / "own", ["a"])
    explorer = Explorer(root, ["grabcut"], state={"case": "a", "clicks": [[12, 18, 1]]})
    explorer.accept()
    explorer.save(root, ["png"])
    again = Explorer(root, ["grabcut"])
    again.resume(root)
    with pytest.raises(BadInputError, match=r"masks/a\.png exists already"):
        again.save(root, ["folder"])


def test_a_saved_folder_is_renewed_after_a_session_was_resumed(images, tmp_path):
    explorer = Explorer(images, ["grabcut"], state={"case": "a.png", "clicks": [[12, 18, 1]]})
    explorer.accept()
    explorer.save(tmp_path / "out", ["folder"])
    again = Explorer(images, ["grabcut"])
    again.resume(tmp_path / "out")
    again.withdraw(images.title, images.title, "a.png", "object")
    again.save(tmp_path / "out", ["folder"])
    left = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert left == ["a.png", "session.json"]  # the copy of the image stays


def test_two_images_that_one_mask_would_fit_are_refused(tmp_path):
    root = write_folder(tmp_path / "own", ["a"])
    Image.open(root / "images/a.png").save(root / "images/a.bmp")
    dataset = load_images(root / "images")
    objects = [("a.png", "cyst", RING), ("a.bmp", "cyst", RING)]
    with pytest.raises(BadInputError, match="differ in their suffix alone"):
        exported(dataset, tmp_path / "out", *objects)
    explorer = Explorer(dataset, ["grabcut"])
    explorer.session = {**explorer.session, **annotated(dataset, *objects)}
    explorer.save(tmp_path / "png", ["png"])
    explorer.resume(tmp_path / "png")  # which says nothing of folders
    assert len(explorer.save(tmp_path / "png", ["png"])) == 3


def test_a_file_that_holds_images_and_masks_is_annotated_but_no_image_of_a_folder(tmp_path):
    volume = VOLUME.transpose(2, 1, 0)
    np.savez(tmp_path / "v.npz", imgs=volume * 90, gts=volume, spacing=(1, 1, 5))
    explorer = Explorer(tmp_path, ["grabcut"], state={"clicks": [[15, 12, 1]]})
    assert explorer.state["case"].endswith("z003")  # the largest object
    explorer.accept()
    assert len(explorer.save(tmp_path / "out", ["png", "coco"])) == 3
    with pytest.raises(BadInputError, match="choose PNG or COCO instead of NIfTI"):
        explorer.save(tmp_path / "nifti", ["nifti"])
    with pytest.raises(BadInputError, match="choose PNG or COCO instead of images"):
        explorer.save(tmp_path / "folder", ["folder"])


def test_more_combinations_of_classes_than_a_label_map_holds_are_refused(images):
    rng = np.random.default_rng(0)
    objects = [("a.png", f"c{i}", rng.random((60, 48)) < 0.5) for i in range(9)]
    session = annotated(images, *objects)
    with pytest.raises(BadInputError, match="more than 255 combinations"):
        LabelValues([Annotation(**one) for one in session["annotations"]], images, True)


def test_a_file_of_label_values_that_says_nothing_is_refused_by_name(tmp_path):
    root = write_folder(tmp_path, ["a"])
    (root / "label_values.txt").write_text("cyst, tumour")
    with pytest.raises(BadInputError, match=r"label_values\.txt: classes is 'cyst, tumour'"):
        load_folder(root)
    assert list(load_folder(root, classes="cyst=255").classes) == ["cyst"]


# ---- several objects of a class


def test_each_object_of_a_class_has_clicks_of_its_own_and_all_are_shown(images):
    explorer = Explorer(images, ["grabcut"], state={"clicks": [[12, 15, 1]]})
    explorer.accept()
    first = explorer.answers[0]["mask"]
    explorer.state = {"case": "a.png", "object": 2}
    assert explorer.state["clicks"] == [] and not explorer.answers[0]["accepted"]
    explorer.state = {**explorer.state, "clicks": [[40, 30, 1], [2, 2, 0]]}
    explorer.state = {"case": "a.png", "object": 3}
    one, two, three = explorer.objects
    assert [o["number"] for o in explorer.objects] == [1, 2, 3]
    assert (one["mask"], one["accepted"], one["shown"]) == (first, True, False)
    assert two["clicks"] == [[40, 30, 1], [2, 2, 0]] and not two["accepted"]
    asked = Explorer(images, ["grabcut"], state={"case": "a.png", "clicks": two["clicks"]})
    assert two["mask"] == asked.answers[0]["mask"] != ""
    assert three["shown"] and not three["mask"]
    explorer.state = {"case": "a.png"}
    assert explorer.state["clicks"] == [[12, 15, 1]] and explorer.answers[0]["accepted"]


def test_objects_of_a_class_are_annotations_of_one_category(images, tmp_path):
    explorer = Explorer(images, ["grabcut"])
    for number, at in ((1, [12, 15, 1]), (2, [40, 30, 1])):
        explorer.state = {"case": "a.png", "class": "cell", "object": number, "clicks": [at]}
        explorer.accept()
    expected = [mask_of(one["mask"], (60, 48)) for one in explorer.objects]
    explorer.save(tmp_path / "out")
    saved = json.loads((tmp_path / "out/coco.json").read_text("utf-8"))
    assert [c["name"] for c in saved["categories"]] == ["cell"] and len(saved["images"]) == 1
    for one, mask in zip(saved["annotations"], expected, strict=True):
        assert one["category_id"] == 1
        found = mask_of(one["segmentation"]["counts"], one["segmentation"]["size"])
        np.testing.assert_array_equal(found, mask)
    pictures = sorted((tmp_path / "out").glob("*.png"))
    for path, mask in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)) > 0, mask)
    again = Explorer(images, ["grabcut"])
    again.resume(tmp_path / "out")
    assert again.session == explorer.session
    again.withdraw(images.title, images.title, "a.png", "cell", 2)
    assert [one["number"] for one in again.accepted] == [1]


def test_a_session_of_before_is_read(images, tmp_path):
    explorer = Explorer(images, ["grabcut"], state={"clicks": [[12, 15, 1]]})
    explorer.accept()
    session = explorer.session
    for one in (*session["objects"], *session["annotations"]):
        del one["number"]
    (tmp_path / "session.json").write_text(json.dumps({**session, "version": 1}))
    again = Explorer(images, ["grabcut"])
    again.resume(tmp_path)
    assert again.session == explorer.session


def test_the_state_of_each_case_is_none_begun_or_done(images):
    explorer = Explorer(images, ["grabcut"])
    assert explorer.progress == {}
    explorer.state = {"case": "b.png", "clicks": [[12, 15, 1]]}
    assert explorer.progress == {"b.png": "begun"}
    explorer.accept()
    assert explorer.progress == {"b.png": "done"}
    explorer.state = {"case": "b.png", "object": 2, "clicks": [[40, 30, 1]]}
    assert explorer.progress == {"b.png": "begun"}  # one of its objects is not accepted
    explorer.accept()
    explorer.state = {"case": "d.png", "clicks": [[12, 15, 1]]}
    assert explorer.progress == {"b.png": "done", "d.png": "begun"}
    explorer.undo()
    assert explorer.progress == {"b.png": "done"}


# ---- DICOM


@pytest.fixture(params=[{}, {"tilt": 0.2}, {"prone": True}, {"upwards": False}], ids=str)
def scan(request, tmp_path):
    """A series of six slices, 60 x 48, as a dataset; the masks of two classes by slice."""
    from medsam_utils.demo.phantoms.dicom_files import save_series

    names = [f"{5 - i}.dcm" for i in range(6)]
    values = np.random.default_rng(0).integers(0, 900, (6, 60, 48)).astype(np.uint16)
    options = {"modality": "CT", "study": "1.2.9", **request.param}
    save_series(tmp_path / "own/p1", names, values, (5.0, 0.7, 0.9), "1.2.1", **options)
    # with a hole, an island in it, pixels that touch at a corner, and one at the border
    awkward = RING | square(29, 23, 2) | square(0, 0, 1) | square(1, 1, 1) | square(59, 47, 1)
    return load_images(tmp_path / "own"), [
        ("p1_z001", "GTV", awkward),
        ("p1_z002", "GTV", square(50, 40)),
        ("p1_z002", "GTV", RING),
        ("p1_z002", "Leber\\ü", square(28, 20)),
    ]


def expected_masks(objects):
    found = {}
    for case, name, mask in objects:
        key = case, name.replace("\\", "/")
        found[key] = found.get(key, False) | mask
    return found


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_masks_of_a_dicom_series_come_back_from_dicom(scan, tmp_path, kind):
    if kind == "seg":
        pytest.importorskip("highdicom", reason="highdicom is not installed: pip install .[dicom]")
    dataset, objects = scan
    files = files_of(annotated(dataset, *objects), lambda _, case: (dataset, dataset[case]), [kind])
    (name,) = set(files) - {"session.json"}
    (tmp_path / "both/masks").mkdir(parents=True)
    shutil.copytree(tmp_path / "own", tmp_path / "both/images")
    (tmp_path / "both/masks/p1.dcm").write_bytes(files[name]())
    read = load_folder(tmp_path / "both")
    assert list(read.classes) == ["GTV", "Leber/ü"]
    assert_equal(masks(read), expected_masks(objects))


def test_a_structure_set_names_patient_study_and_images_of_its_series(scan):
    dataset, objects = scan
    session = annotated(dataset, *objects)
    placed = [(Annotation(**one), dataset[one["case"]]) for one in session["annotations"]]
    made = pydicom.dcmread(io.BytesIO(structures(placed, dataset)))
    first = pydicom.dcmread(dataset["p1_z001"].images[1])
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        named = made if name in made else made.ReferencedFrameOfReferenceSequence[0]
        assert named[name].value == first[name].value
    contour = made.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID


def test_what_is_no_dicom_series_has_no_dicom_masks(images):
    session = annotated(images, ("a.png", "cyst", RING))
    for kind in ("seg", "rtstruct"):
        with pytest.raises(BadInputError, match=r"a\.png comes from no DICOM series"):
            files_of(session, lambda _, case: (images, images[case]), [kind])
    assert set(Explorer(images, ["grabcut"]).files["formats"]) == {"nifti", "png", "coco", "folder"}


@pytest.mark.parametrize("make", [segmentation, structures], ids=lambda make: make.__name__)
def test_a_series_without_what_masks_must_name_is_refused(tmp_path, make):
    if make is segmentation:
        pytest.importorskip("highdicom", reason="highdicom is not installed: pip install .[dicom]")
    write_scan(tmp_path / "p1", "1.2.1")
    for path in (tmp_path / "p1").iterdir():
        file = pydicom.dcmread(path)
        del file.FrameOfReferenceUID
        file.save_as(path)
    dataset = load_images(tmp_path)
    (one,) = annotated(dataset, ("p1_z001", "x", square(1, 1, 8, (30, 24))))["annotations"]
    with pytest.raises(BadInputError, match="p1: its files lack FrameOfReferenceUID"):
        make([(Annotation(**one), dataset["p1_z001"])], dataset)


# ---- the whole way


def drawn(number):
    """One of 15 ultrasound-like drawings: an ellipse in speckle, its truth."""
    rng = np.random.default_rng(number)
    row, col, tall, wide = rng.uniform([25, 18, 9, 8], [35, 30, 16, 14])
    truth = ((ROWS - row) / tall) ** 2 + ((COLS - col) / wide) ** 2 < 1
    image = np.where(truth, 150, 60) * rng.uniform(0.7, 1.3, truth.shape)
    return image.astype(np.uint8), truth


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory):
    """Fifteen images without masks, annotated by Algorithm 1: (folder, accepted masks)."""
    root = tmp_path_factory.mktemp("drawings")
    for number in range(15):
        Image.fromarray(drawn(number)[0]).save(root / f"d{number:02d}.png")
    explorer, accepted = Explorer(root, ["sam_small"]), {}
    for number in range(15):
        truth, case = drawn(number)[1], f"d{number:02d}.png"
        explorer.state = {"case": case, "class": "cyst", "clicks": []}
        for n in range(1, 4):
            text = explorer.answers[0]["mask"]
            mask = mask_of(text, truth.shape) if text else None
            click = next_click(truth, mask, PAPER, click_rng(PAPER, root.name, case, "cyst", n))
            if click is None:  # every pixel is right
                break
            assert isinstance(click, Click)
            at = [click.row, click.col, int(click.positive)]
            explorer.state = {**explorer.state, "clicks": [*explorer.state["clicks"], at]}
        explorer.accept()
        accepted[case.removesuffix(".png"), "cyst"] = mask_of(
            explorer.answers[0]["mask"], truth.shape
        )
    assert set(explorer.progress.values()) == {"done"} and len(explorer.progress) == 15
    out = tmp_path_factory.mktemp("exported") / "my cysts"
    explorer.save(out, ["folder"])
    return out, accepted


def test_fifteen_annotated_images_are_evaluated_on_equal_masks(round_trip):
    folder, accepted = round_trip
    dataset = load_folder(folder)
    assert_equal(masks(dataset), accepted)
    rows = evaluate(dataset, load_model("grabcut"), clicks=2)
    assert rows["case_id"].nunique() == 15 and set(rows["task"]) == {"my cysts"}


@pytest.mark.slow
def test_fifteen_annotated_images_become_a_page_of_the_book(round_trip, tmp_path):
    folder, _ = round_trip
    copy_book(REPOSITORY, tmp_path / "checkout")
    options = ["--out", str(tmp_path / "book"), "--models", "grabcut"]
    run = subprocess.run(
        [sys.executable, "-m", "medsam_utils.book.render", *options, "chapter", str(folder)],
        cwd=tmp_path / "checkout",
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    page = Path(re.search("your page: (.*html)", run.stdout)[1])
    assert "paired by equal names (15)" in page.read_text(encoding="utf-8")
