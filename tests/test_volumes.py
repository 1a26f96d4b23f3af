"""NIfTI volumes: upright slices whatever the orientation of the file, and every damaged file."""

import dataclasses
import gzip
import itertools
import tracemalloc

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from medsam_utils import load_folder
from medsam_utils.case import BadCaseError
from medsam_utils.datasets import DATASETS
from medsam_utils.datasets import volumes as volumes_module
from medsam_utils.datasets.pairs import Pairs
from medsam_utils.datasets.volumes import Volumes, find_cut, read_volume
from medsam_utils.demo.phantoms.drawing import save_nifti
from medsam_utils.intensity import EightBit

# Two slices, three rows, four columns; the first slice is the lower one, the first row is anterior,
# the first column is on the patient's right.
UPRIGHT = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
LABEL = np.zeros((2, 3, 4), np.uint8)
LABEL[0, 0, 1] = LABEL[1, 2, 3] = 1
SPACING = (5.0, 2.0, 1.5)

ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]


@pytest.fixture
def dataset(tmp_path):
    """The heart dataset on files in `tmp_path`, 8-bit values kept as they are."""
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
    return dataclasses.replace(DATASETS["mri_heart"], root=tmp_path, intensity=EightBit())


def write(dataset, image=UPRIGHT, label=LABEL, name="la_003"):
    save_nifti(dataset.root / "imagesTr" / f"{name}.nii.gz", image, SPACING)
    save_nifti(dataset.root / "labelsTr" / f"{name}.nii.gz", label, SPACING)


def rewrite(path, change):
    """Replace a file by what `change(values, affine)` makes of it."""
    file = nibabel.load(path)
    values, affine = change(np.asarray(file.dataobj), file.affine)
    nibabel.Nifti1Image(values, affine).to_filename(path)


def to_orientation(codes):
    """Return a change that stores the same volume with its axes along `codes`."""

    def change(values, affine):
        turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
        return nibabel.apply_orientation(values, turn), affine @ inv_ornt_aff(turn, values.shape)

    return change


def load_all(dataset):
    return [dataset.load(reference) for reference in dataset.list().references]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_a_volume_stored_in_any_orientation_gives_the_same_slices(dataset, codes):
    write(dataset)
    for part in ("imagesTr", "labelsTr"):
        path = dataset.root / part / "la_003.nii.gz"
        rewrite(path, to_orientation(codes))
        assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == codes
    cases = load_all(dataset)
    if "I" in codes:  # the file counts its slices from the top
        cases.reverse()
    for case, image, label in zip(cases, UPRIGHT, LABEL, strict=True):
        np.testing.assert_array_equal(case.image[..., 0], image)
        np.testing.assert_array_equal(case.masks["left atrium"], label)
        assert case.spacing == SPACING[1:]


def test_the_slice_index_counts_along_the_files_own_axis(dataset):
    label = np.zeros_like(LABEL)
    label[1, 0, 0] = 1
    write(dataset, label=label)
    (reference,) = dataset.list().references
    assert (reference.case_id, reference.slice_index) == ("la_003_z001", 1)
    for part in ("imagesTr", "labelsTr"):
        rewrite(dataset.root / part / "la_003.nii.gz", to_orientation("RAI"))
    assert dataset.list().references[0].slice_index == 0


@pytest.mark.parametrize(
    ("plane", "shape", "top", "left"),
    [
        ("axial", (3, 4), "anterior", "right"),
        ("coronal", (2, 4), "superior", "right"),
        ("sagittal", (2, 3), "superior", "anterior"),
    ],
)
def test_each_plane_is_upright(dataset, plane, shape, top, left):
    # One voxel is marked, at the end of the body where the corner must show it.
    ends = {"superior": (0, -1), "anterior": (1, 0), "right": (2, 0)}
    marked = np.zeros_like(UPRIGHT)
    where = [0, 0, 0]
    for side in (top, left):
        where[ends[side][0]] = ends[side][1]
    marked[tuple(where)] = 255
    write(dataset, image=marked, label=(marked > 0).astype(np.uint8))
    cut = dataclasses.replace(dataset, reader=dataclasses.replace(dataset.reader, plane=plane))
    (case,) = load_all(cut)
    assert case.image.shape[:2] == shape
    assert case.image[0, 0, 0] == 255


def test_an_oblique_volume_is_cut_along_the_nearest_axes(dataset):
    write(dataset)
    turn = nibabel.eulerangles.euler2mat(0.3, 0.1, -0.2)
    for part in ("imagesTr", "labelsTr"):
        rewrite(
            dataset.root / part / "la_003.nii.gz",
            lambda values, affine: (values, nibabel.affines.from_matvec(turn) @ affine),
        )
    np.testing.assert_array_equal(load_all(dataset)[0].image[..., 0], UPRIGHT[0])
    assert load_all(dataset)[0].spacing == pytest.approx(SPACING[1:])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_that_image_whatever_its_plane(axis):
    shape = [5, 6, 7]
    shape[axis] = 1
    assert find_cut(tuple(shape), np.eye(4), "axial", "a.nii").slice_axis == axis


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-0.5, -0.5, 1, 1]), np.zeros((4, 4))])
def test_a_picture_in_a_volume_file_is_taken_as_it_is_stored(affine):
    cut = find_cut((5, 6, 1), affine, "stored", "a.nii")
    picture = np.arange(30).reshape(5, 6, 1)
    np.testing.assert_array_equal(cut.slice(picture, 0), picture[..., 0])


def test_a_nifti_file_with_two_axes_is_one_slice(dataset):
    for part, values in (("imagesTr", UPRIGHT[0]), ("labelsTr", LABEL[0])):
        nibabel.Nifti1Image(values.T[::-1, ::-1], np.eye(4)).to_filename(
            dataset.root / part / "la_003.nii.gz"
        )
    (case,) = load_all(dataset)
    np.testing.assert_array_equal(case.image[..., 0], UPRIGHT[0])


def test_a_trailing_axis_of_length_one_is_dropped(dataset):
    write(dataset)
    rewrite(dataset.root / "imagesTr" / "la_003.nii.gz", lambda v, a: (v[..., np.newaxis], a))
    np.testing.assert_array_equal(load_all(dataset)[0].image[..., 0], UPRIGHT[0])


def test_integers_are_read_as_integers_and_scale_factors_are_applied(tmp_path):
    nibabel.Nifti1Image(np.full((2, 2, 2), 7, np.int16), np.eye(4)).to_filename(
        tmp_path / "a.nii.gz"
    )
    assert read_volume(tmp_path / "a.nii.gz").values.dtype == np.int16
    scaled = nibabel.Nifti1Image(np.full((2, 2, 2), 7, np.int16), np.eye(4))
    scaled.header.set_slope_inter(2, -1024)
    scaled.to_filename(tmp_path / "b.nii.gz")
    values = read_volume(tmp_path / "b.nii.gz").values
    np.testing.assert_allclose(values, np.asarray(nibabel.load(tmp_path / "b.nii.gz").dataobj))


def test_labels_stored_as_floats_are_read(dataset):
    write(dataset, label=(LABEL * 0.9999).astype(np.float32))
    np.testing.assert_array_equal(load_all(dataset)[0].masks["left atrium"], LABEL[0])


def test_values_behind_an_extension_of_the_header_are_read(tmp_path):
    image = nibabel.Nifti1Image(UPRIGHT, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 500))
    image.to_filename(tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").dataobj.offset > 352
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").values, UPRIGHT)


def test_a_file_of_several_gzip_members_is_read(tmp_path):
    nibabel.Nifti1Image(UPRIGHT, np.eye(4)).to_filename(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:360]) + gzip.compress(content[360:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").values, UPRIGHT)


# ---- listing


def test_only_slices_with_a_labelled_pixel_are_cases(dataset):
    label = np.zeros((6, 3, 4), np.uint8)
    label[[1, 4], 0, 0] = 1
    write(dataset, image=np.zeros((6, 3, 4), np.uint8), label=label)
    assert [r.slice_index for r in dataset.list().references] == [1, 4]


def test_listing_reads_no_image(dataset):
    write(dataset)
    (dataset.root / "imagesTr" / "la_003.nii.gz").write_bytes(b"unreadable")
    assert len(dataset.list().references) == 2


def test_test_images_without_labels_are_no_cases_and_no_exclusions(dataset):
    write(dataset)
    (dataset.root / "imagesTs").mkdir()
    save_nifti(dataset.root / "imagesTs" / "la_001.nii.gz", UPRIGHT, SPACING)
    listing = dataset.list()
    assert {r.patient_id for r in listing.references} == {"la_003"}
    assert not listing.exclusions


def left_out(dataset):
    """Write a second, sound volume, and return the reason why the first one is left out."""
    write(dataset, name="la_004")
    listing = dataset.list()
    assert {r.patient_id for r in listing.references} == {"la_004"}
    (exclusion,) = listing.exclusions
    assert exclusion.case_id == "la_003"
    return exclusion.reason


def test_a_volume_without_a_labelled_pixel_is_left_out(dataset):
    write(dataset, label=LABEL * 0)
    assert left_out(dataset) == "labelsTr/la_003.nii.gz: no labelled pixel in the volume"


def test_an_undeclared_label_is_left_out(dataset):
    write(dataset, label=LABEL * 7)
    assert "label values [7] are not among the declared [0, 1]" in left_out(dataset)


def test_a_mask_of_nan_is_left_out(dataset):
    write(dataset, label=np.where(LABEL, np.nan, 0).astype(np.float32))
    assert (
        left_out(dataset)
        == "labelsTr/la_003.nii.gz: the mask holds NaN or infinity: write 0 for background"
    )


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_truncated_mask_is_left_out(dataset, kept):
    write(dataset)
    truncate(dataset.root / "labelsTr" / "la_003.nii.gz", kept)
    assert left_out(dataset).startswith("labelsTr/la_003.nii.gz: cannot be read")


def truncate(path, kept):
    noise = np.random.default_rng(0).integers(0, 2, (20, 20, 4), np.uint8)
    nibabel.Nifti1Image(noise, np.eye(4)).to_filename(path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])


# ---- bad cases


def load_error(dataset):
    with pytest.raises(BadCaseError) as error:
        load_all(dataset)
    return str(error.value)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.95])
def test_a_truncated_volume(dataset, kept):
    write(dataset)
    truncate(dataset.root / "imagesTr" / "la_003.nii.gz", kept)
    message = load_error(dataset)
    assert message.startswith("imagesTr/la_003.nii.gz: cannot be read")
    assert message.endswith("copy or export it again")


def test_a_volume_with_a_fourth_axis(dataset):
    write(dataset)
    rewrite(dataset.root / "imagesTr" / "la_003.nii.gz", lambda v, a: (np.stack([v, v], axis=3), a))
    assert load_error(dataset) == (
        "imagesTr/la_003.nii.gz: its shape is (4, 3, 2, 2): save one volume of three axes"
    )


def test_a_slice_with_nan_is_refused_and_the_others_are_not(dataset):
    image = UPRIGHT.astype(np.float32)
    image[0, 0, :2] = np.nan
    write(dataset, image=image)
    first, second = dataset.list().references
    with pytest.raises(
        BadCaseError, match=r"la_003\.nii\.gz: 2 of 12 pixels are NaN or infinite: replace"
    ):
        dataset.load(first)
    assert dataset.load(second).image.shape == (3, 4, 3)


def test_a_mask_of_another_shape(dataset):
    write(dataset, label=LABEL[:, :, :3])
    assert load_error(dataset).startswith(
        "labelsTr/la_003.nii.gz: the mask has (3, 3, 2) voxels, its image (4, 3, 2)"
    )


@pytest.mark.parametrize("shift", [0.7, 100])
def test_a_mask_that_lies_elsewhere(dataset, shift):
    write(dataset)
    move = np.eye(4)
    move[0, 3] = shift * SPACING[2]
    rewrite(dataset.root / "labelsTr" / "la_003.nii.gz", lambda v, a: (v, move @ a))
    assert f"the mask lies up to {shift * SPACING[2]:.1f} mm beside its image" in load_error(
        dataset
    )


def test_a_mask_that_lies_elsewhere_by_rounding_only_is_read(dataset):
    write(dataset)
    rewrite(dataset.root / "labelsTr" / "la_003.nii.gz", lambda v, a: (v, a + 1e-3))
    assert len(load_all(dataset)) == 2


@pytest.mark.parametrize("value", [0, np.nan])
def test_an_affine_that_places_nothing(value):
    affine = np.eye(4)
    affine[:2] = value
    with pytest.raises(BadCaseError, match=r"a\.nii: its affine does not place the three axes"):
        find_cut((2, 2, 2), affine, "axial", "a.nii")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_declares_a_huge_volume_is_not_believed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    file = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    content = bytearray(file.to_bytes())
    file.header["dim"][1:4] = 30000
    content[:348] = file.header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)) if suffix == ".nii.gz" else bytes(content))
    tracemalloc.start()
    with pytest.raises(
        BadCaseError, match=r"declares \(30000, 30000, 30000\) voxels, the file is too small"
    ):
        read_volume(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_errors_do_not_quote_headers(dataset):
    write(dataset)
    path = dataset.root / "imagesTr" / "la_003.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[148:158] = b"Jane Q Doe"
    path.write_bytes(gzip.compress(bytes(content[:360])))
    assert "Jane" not in load_error(dataset)


# ---- memory and speed


def test_slices_in_a_row_read_their_volume_once(dataset, monkeypatch):
    write(dataset)
    reads = []
    original = volumes_module.read_volume
    monkeypatch.setattr(
        volumes_module, "read_volume", lambda path: reads.append(path) or original(path)
    )
    references = dataset.list().references
    reads.clear()
    for reference in references * 3:
        dataset.load(reference)
    assert len(reads) == 2  # the image and its mask


def test_a_changed_file_is_read_again(dataset):
    write(dataset)
    before = load_all(dataset)[0]
    write(dataset, image=UPRIGHT + 1)
    np.testing.assert_array_equal(load_all(dataset)[0].image, before.image + 1)


def test_memory_does_not_grow_with_the_number_of_volumes(dataset):
    rng = np.random.default_rng(0)
    label = np.ones((8, 96, 96), np.uint8)
    for number in range(12):
        write(dataset, rng.integers(0, 255, label.shape, np.uint8), label, f"la_{number:03d}")

    def peak(count):
        part = [r for r in references if int(r.patient_id[3:]) < count]
        tracemalloc.start()
        for reference in part:
            dataset.load(reference)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    references = dataset.list().references
    dataset.load(references[-1])
    assert peak(12) < 1.15 * peak(2)
    assert len(volumes_module._last) == 1


def test_several_masks_of_a_volume_are_united(dataset):
    for name, values in (
        ("image", UPRIGHT),
        ("mask-r1", LABEL * [[[1]], [[0]]]),
        ("mask-r2", LABEL * [[[0]], [[1]]]),
    ):
        save_nifti(dataset.root / f"sc01-{name}.nii.gz", values.astype(np.uint8), SPACING)
    pairs = Pairs(
        images=r"(?P<key>sc\d+)-image\.nii\.gz", masks=r"(?P<key>sc\d+)-mask-r\d\.nii\.gz"
    )
    cases = load_all(dataclasses.replace(dataset, reader=Volumes(pairs)))
    np.testing.assert_array_equal([case.masks["left atrium"] for case in cases], LABEL > 0)


def test_a_volume_s_mask_of_fractions_is_cut_at_half(tmp_path):
    soft = LABEL.astype(np.float32)
    soft[0, 0, 2], soft[0, 1, 1] = 0.6, 0.4
    for folder, values in (("images", UPRIGHT), ("masks", soft)):
        (tmp_path / folder).mkdir()
        save_nifti(tmp_path / folder / "a.nii.gz", values, SPACING)
    dataset = load_folder(tmp_path)
    lower = dataset.load(dataset.list().references[0])
    expected = np.zeros((3, 4), bool)
    expected[0, 1:3] = True
    (mask,) = lower.masks.values()
    assert np.array_equal(mask, expected) and np.array_equal(lower.labelled, expected)
