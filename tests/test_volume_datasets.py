"""Volumes of the study: each phantom comes back as it was drawn, and each trap of its files is
met."""

import dataclasses
import functools
import gzip
import json
import tracemalloc

import nibabel
import numpy as np
import pytest
from cases import read_all

from medsam_utils import DATASETS, load_dataset, load_folder
from medsam_utils.case import BadCaseError, BadInputError, Exclusion
from medsam_utils.clicks import RELEASED_CODE, next_click
from medsam_utils.datasets.volumes import read_volume
from medsam_utils.demo.phantoms import ct, mri_brain, mri_prostate, mri_spine, pet, write_phantoms
from medsam_utils.demo.phantoms.drawing import save_nifti
from medsam_utils.intensity import Percentile, Window

DRAWINGS = {
    "mri_spine": (mri_spine, "mri_spine_volumes"),
    "mri_prostate": (mri_prostate, "mri_prostate_volumes"),
    "mri_brain": (mri_brain, "mri_brain_volumes"),
    **{
        name: (ct, f"{name}_volumes")
        for name in (
            "ct_liver",
            "ct_organ",
            "ct_spleen",
            "ct_colon",
            "ct_pancreas",
            "ct_hepaticvessel",
        )
    },
    "pet_wholebody": (pet, "pet_wholebody_volumes"),
}
DECATHLON = {
    "ct_spleen": "Task09_Spleen",
    "ct_colon": "Task10_Colon",
    "ct_pancreas": "Task07_Pancreas",
    "ct_hepaticvessel": "Task08_HepaticVessel",
}
AFFINE = np.diag([1.5, 2.0, 5.0, 1.0])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the phantoms of the volumes, by name; what was drawn is kept for `drawn`."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        for name, (module, function) in DRAWINGS.items():
            patch.setattr(module, function, functools.cache(getattr(module, function)))
            write_phantoms(name, folder / name)
        yield folder


def drawn(name):
    """Return the volumes of a phantom, by key, as they are to come back."""
    module, function = DRAWINGS[name]
    volumes = getattr(module, function)()
    if name == "mri_spine":
        return {key: volume for key, (volume, _) in volumes.items() if int(key[-2:]) <= 10}
    if name == "mri_brain":
        return {key: sequences["flair"] for key, sequences in volumes.items()}
    if name == "pet_wholebody":
        return {key: volume for key, (volume, _) in volumes.items()}
    return volumes


def labels_of(path):
    return np.unique(np.asarray(nibabel.load(path).dataobj)).tolist()


def axes_of(path):
    return "".join(nibabel.aff2axcodes(nibabel.load(path).affine))


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_phantom_comes_back_as_drawn(data, name):
    dataset = load_dataset(name, data)
    cases, _ = read_all(dataset)
    seen = []
    for key, volume in drawn(name).items():
        values = volume.image.astype(np.float32) if name in DECATHLON else volume.image
        for index, label in enumerate(volume.label):
            masks = {name: np.isin(label, labels) for name, labels in dataset.classes.items()}
            if not any(mask.any() for mask in masks.values()):
                continue
            seen.append(f"{key}_z{index:03d}")
            case = cases[seen[-1]]
            np.testing.assert_array_equal(case.image, dataset.intensity(values[index]))
            for class_name, mask in masks.items():
                np.testing.assert_array_equal(case.masks[class_name], mask)
            assert case.slice_index == index
            assert case.patient_id in key
            lost = (name, key) == ("ct_liver", "28")
            assert case.spacing == (None if lost else pytest.approx(volume.spacing[1:]))
    assert sorted(cases) == sorted(seen)


@pytest.mark.parametrize("name", [name for name in DRAWINGS if DATASETS[name].folders])
def test_a_dataset_is_found_by_the_folders_of_its_distribution(data, name, tmp_path):
    for path in (data / name).iterdir():
        if path.is_dir():
            (tmp_path / path.name).symlink_to(path)
    found = load_dataset(name, tmp_path)
    assert (found.root, found.level) == (tmp_path, "measured")
    assert len(found.list().references) == len(load_dataset(name, data).list().references)


# ---- MRI, spine


def small(root, names):
    """Write volumes by name: labels, upright; None stands for an image of their shape, of rising
    numbers."""
    shape = next(label.shape for label in names.values() if label is not None)
    image = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    for name, label in names.items():
        save_nifti(root / name, image if label is None else label, (5.0, 2.0, 1.5))


def at(root, name, **options):
    """The dataset on the files below `root`."""
    return dataclasses.replace(DATASETS[name], root=root).read_with(**options)


@pytest.fixture
def spine(tmp_path):
    """One slice of 2 x 3: two raters see grey matter at the first pixel, three at the second."""
    marks = [
        [[1, 1, 2], [0, 0, 0]],
        [[1, 1, 2], [0, 0, 0]],
        [[2, 1, 2], [0, 2, 0]],
        [[2, 2, 0], [0, 2, 0]],
    ]
    masks = {
        f"train/site1-sc01-mask-r{i + 1}.nii.gz": np.array([m], np.uint8)
        for i, m in enumerate(marks)
    }
    small(tmp_path, {"train/site1-sc01-image.nii.gz": None, **masks})
    return tmp_path


def masks_of(dataset):
    (reference,) = dataset.list().references
    case = dataset.load(reference)
    return {name: mask.astype(int).tolist() for name, mask in case.masks.items()}, case


def test_spine_counts_what_three_of_four_raters_mark(spine):
    masks, case = masks_of(at(spine, "mri_spine"))
    assert masks == {"GM": [[0, 1, 0], [0, 0, 0]], "SC": [[1, 1, 1], [0, 0, 0]]}
    assert len(case.source) == 5


@pytest.mark.parametrize("rater", [3, "3"])
def test_spine_one_rater(spine, rater):
    masks, case = masks_of(at(spine, "mri_spine", rater=rater))
    assert masks == {"GM": [[0, 1, 0], [0, 0, 0]], "SC": [[1, 1, 1], [0, 1, 0]]}
    assert [path.name for path in case.source[1:]] == ["site1-sc01-mask-r3.nii.gz"]


def test_spine_any_rater(spine):
    masks, _ = masks_of(at(spine, "mri_spine", rater="any"))
    assert masks == {"GM": [[1, 1, 0], [0, 0, 0]], "SC": [[1, 1, 1], [0, 1, 0]]}


def test_spine_a_missing_rater_is_listed(spine):
    (spine / "train/site1-sc01-mask-r2.nii.gz").rename(spine / "train/site1-sc02-mask-r2.nii.gz")
    with pytest.raises(BadInputError, match=r"train/site1-sc01-image\.nii\.gz: 0 files of rater 2"):
        at(spine, "mri_spine").list()
    assert len(at(spine, "mri_spine", rater=4).list().references) == 1


def test_spine_a_rater_who_does_not_exist_is_an_error():
    with pytest.raises(BadInputError, match="rater is 5: choose any, majority, 1, 2, 3, 4"):
        DATASETS["mri_spine"].read_with(rater=5)


def test_spine_each_class_stands_alone_under_the_released_codes_rule(spine):
    _, case = masks_of(at(spine, "mri_spine"))
    assert case.labelled is None
    # The whole cord is predicted for grey matter: the click on white matter has to be negative.
    click = next_click(
        case.masks["GM"], case.masks["SC"], RELEASED_CODE, np.random.default_rng(0), case.labelled
    )
    assert not click.positive


def test_spine_test_volumes_without_masks_are_listed(data):
    _, excluded = read_all(load_dataset("mri_spine", data))
    assert excluded == ["test/site2-sc11-image.nii.gz: image without mask"]


def test_spine_files_are_as_distributed(data):
    names = sorted(path.name for path in (data / "mri_spine" / "train").glob("site1-sc01*"))
    assert names == [
        *("site1-sc01-image.nii.gz", "site1-sc01-levels.txt"),
        *(f"site1-sc01-mask-r{rater}.nii.gz" for rater in (1, 2, 3, 4)),
    ]
    masks = list((data / "mri_spine" / "train").glob("*-mask-r[123].nii.gz"))
    assert {tuple(labels_of(path)) for path in masks} == {(0, 1, 2)}


def test_spine_raters_differ_and_one_of_them_misses_grey_matter(data):
    dataset = load_dataset("mri_spine", data)
    found = {}
    for rater in (1, 4, "majority"):
        cases, _ = read_all(dataset.read_with(rater=rater))
        found[rater] = {key: case.masks["GM"].sum() for key, case in cases.items()}
    assert found[1] != found["majority"]
    assert all(
        found[4][f"{key}_z{len(v.label) - 1:03d}"] == 0 for key, v in drawn("mri_spine").items()
    )


# ---- MRI, prostate


def test_prostate_a_mask_with_a_capital_letter_is_a_mask(data):
    listing = load_dataset("mri_prostate", data).list()
    masks = {path.name for reference in listing.references for path in reference.masks}
    assert masks == {
        *("Case00_Segmentation.nii.gz", "Case02_segmentation.nii.gz", "Case07_segmentation.nii.gz"),
        *("Case11_segmentation.nii.gz", "Case26_segmentation.nii.gz", "Case38_segmentation.nii.gz"),
    }
    assert not listing.exclusions
    assert {reference.patient_id for reference in listing.references} == set(drawn("mri_prostate"))


def test_prostate_is_both_zones(data):
    root = data / "mri_prostate"
    assert labels_of(root / "BMC/Case00_Segmentation.nii.gz") == [0, 1, 2]
    assert labels_of(root / "BIDMC/Case02_segmentation.nii.gz") == [0, 1]
    assert axes_of(root / "BMC/Case00.nii.gz") != axes_of(root / "I2CVB/Case07.nii.gz")


def test_prostate_equal_numbers_of_two_sites_are_two_volumes(tmp_path):
    label = np.ones((1, 2, 3), np.uint8)
    for site in ("HK", "UCL"):
        small(
            tmp_path, {f"{site}/Case01.nii.gz": None, f"{site}/Case01_segmentation.nii.gz": label}
        )
    ids = [reference.case_id for reference in at(tmp_path, "mri_prostate").list().references]
    assert ids == ["HK/Case01_z000", "UCL/Case01_z000"]


# ---- MRI, brain


@pytest.mark.parametrize("sequence", mri_brain.SEQUENCES)
def test_brain_each_sequence_can_be_read_in_every_edition(data, sequence):
    dataset = load_dataset("mri_brain", data).read_with(channels=sequence)
    cases, excluded = read_all(dataset)
    assert not excluded
    volumes = mri_brain.mri_brain_volumes()
    assert {case.patient_id for case in cases.values()} == {
        *("Brats18_2013_2_1", "BraTS20_Training_355", "BraTS2021_00000", "BraTS-GLI-00002")
    }
    for name, sequences in volumes.items():
        case = cases[f"{name}_z002"]
        np.testing.assert_array_equal(case.image, Percentile()(sequences[sequence].image[2]))


def test_brain_three_sequences_are_red_green_and_blue_each_stretched_for_itself(data):
    dataset = load_dataset("mri_brain", data).read_with(channels=("t2", "flair", "t1ce"))
    reference = dataset["BraTS-GLI-00002-000_z002"]
    assert [path.name[-10:-7] for path in reference.images] == ["t2w", "t2f", "t1c"]
    volumes = mri_brain.mri_brain_volumes()["BraTS-GLI-00002-000"]
    for channel, sequence in enumerate(("t2", "flair", "t1ce")):
        grey = Percentile()(volumes[sequence].image[2])[..., 0]
        np.testing.assert_array_equal(dataset.load(reference).image[..., channel], grey)


@pytest.mark.parametrize("channels", ["t3", ("t1", "t2"), ()])
def test_brain_a_sequence_that_does_not_exist_is_an_error(channels):
    with pytest.raises(
        BadInputError, match=r"choose one or three of \['flair', 't1', 't1ce', 't2'\]"
    ):
        DATASETS["mri_brain"].read_with(channels=channels)


def test_brain_files_are_as_distributed(data):
    found = {path.name: labels_of(path) for path in (data / "mri_brain").rglob("*[sS]eg*.nii*")}
    assert found == {
        "Brats18_2013_2_1_seg.nii.gz": [0, 1, 2, 4],
        "W39_1998.09.19_Segm.nii": [0, 1, 2, 4],
        "BraTS2021_00000_seg.nii.gz": [0, 1, 2, 4],
        "BraTS-GLI-00002-000-seg.nii.gz": [0, 1, 2, 3],
    }


def test_brain_a_case_without_the_sequence_is_listed(tmp_path):
    label = np.ones((1, 2, 3), np.uint8)
    for case, sequence in (("BraTS2021_1", "flair"), ("BraTS2021_2", "t1")):
        small(
            tmp_path, {f"{case}/{case}_{sequence}.nii.gz": None, f"{case}/{case}_seg.nii.gz": label}
        )
    listing = at(tmp_path, "mri_brain").list()
    assert [reference.patient_id for reference in listing.references] == ["BraTS2021_1"]
    path = "BraTS2021_2/BraTS2021_2_t1.nii.gz"
    expected = Exclusion("BraTS2021_2", "pairs", path, "0 files of channel flair")
    assert listing.exclusions == [expected]


def test_brain_sequences_on_different_grids_are_refused(tmp_path):
    small(tmp_path, {"a/a_flair.nii.gz": None, "a/a_seg.nii.gz": np.ones((1, 2, 3), np.uint8)})
    for sequence in ("t1", "t2"):
        small(
            tmp_path,
            {f"a/a_{sequence}.nii.gz": None, "b/b_seg.nii.gz": np.ones((1, 3, 3), np.uint8)},
        )
    dataset = at(tmp_path, "mri_brain", channels=("flair", "t1", "t2"))
    with pytest.raises(
        BadCaseError, match=r"a_t1\.nii\.gz: the channel has \(3, 3, 1\) voxels, its image"
    ):
        dataset.load(dataset.list().references[0])


# ---- CT, liver


def test_liver_files_are_as_distributed(data):
    root = data / "ct_liver"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.nii*"))
    assert names == [
        "Test/test-volume-0.nii",
        *(
            f"Training Batch 1/{kind}-{n}.nii"
            for kind in ("segmentation", "volume")
            for n in (0, 9)
        ),
        *(f"Training Batch 2/{kind}-28.nii" for kind in ("segmentation", "volume")),
    ]
    lost = nibabel.load(root / "Training Batch 2/volume-28.nii")
    np.testing.assert_array_equal(lost.affine, np.eye(4))
    assert lost.shape[3:] == (1,)
    first, second = (axes_of(root / f"Training Batch 1/volume-{n}.nii") for n in (0, 9))
    assert (first, second) == ("RAS", "LPS")
    values = np.asarray(lost.dataobj)
    assert values.min() < -900  # air
    assert values.max() > 500  # bone


def test_liver_numbers_are_in_natural_order_and_test_volumes_ignored(data):
    listing = load_dataset("ct_liver", data).list()
    assert list(dict.fromkeys(r.patient_id for r in listing.references)) == ["0", "9", "28"]
    assert not listing.exclusions


@pytest.fixture
def liver(tmp_path):
    """Two slices of a LiTS volume with an identity affine, whose mask has its affine."""
    label = np.zeros((2, 2, 3), np.uint8)
    label[0, 0, 1] = label[1, 1, 2] = 1
    label[1, 0, 0] = 2
    save_nifti(
        tmp_path / "volume-28.nii",
        np.arange(12, dtype=np.int16).reshape(2, 2, 3),
        (5, 2, 2),
        lost=True,
    )
    save_nifti(tmp_path / "segmentation-28.nii", label, (5, 2, 2))
    return tmp_path


def test_liver_grids_are_compared_in_shape_only_where_the_header_is_lost(liver):
    cases, excluded = read_all(at(liver, "ct_liver"))
    assert not excluded
    np.testing.assert_array_equal(cases["28_z001"].masks["liver"], [[1, 0, 0], [0, 0, 1]])
    assert cases["28_z001"].spacing is None
    with pytest.raises(BadCaseError, match="beside its image"):
        dataset = at(liver, "ct_liver", trust_identity=True)
        dataset.load(dataset.list().references[0])


def test_liver_another_shape_is_refused_though_the_header_is_lost(liver):
    save_nifti(liver / "segmentation-28.nii", np.ones((2, 2, 4), np.uint8), (5, 2, 2))
    _, excluded = read_all(at(liver, "ct_liver"))
    assert all(
        r"the mask has (4, 2, 2) voxels, its image (3, 2, 2)" in reason for reason in excluded
    )
    assert len(excluded) == 2


def test_liver_a_mask_beside_its_image_is_refused_where_headers_are_there(liver):
    image, mask = liver / "volume-28.nii", liver / "segmentation-28.nii"
    values = np.asarray(nibabel.load(image).dataobj)
    nibabel.Nifti1Image(values, nibabel.load(mask).affine + 20).to_filename(image)
    _, excluded = read_all(at(liver, "ct_liver"))
    assert len(excluded) == 2
    assert "beside its image" in excluded[0]


def test_liver_is_read_as_the_decathlon_distributes_it_too(tmp_path):
    names = {
        "Task03_Liver/imagesTr/liver_7.nii.gz": None,
        "Task03_Liver/labelsTr/liver_7.nii.gz": np.full((1, 2, 3), 2, np.uint8),
    }
    small(tmp_path, names)
    (tmp_path / "Task03_Liver/labelsTr/._liver_7.nii.gz").write_bytes(b"not a volume")
    dataset = load_dataset("ct_liver", tmp_path)
    assert dataset.within == ("Task03_Liver",)
    masks, case = masks_of(dataset)
    assert (case.case_id, masks) == ("liver_7_z000", {"liver": [[1, 1, 1], [1, 1, 1]]})


# ---- CT, organs


def test_organ_labels_are_stored_as_floats_too(data):
    kinds = {
        path.name: nibabel.load(path).get_data_dtype().kind
        for path in (data / "ct_organ").glob("labels-*")
    }
    assert kinds == {"labels-0.nii.gz": "u", "labels-132.nii.gz": "f"}
    assert labels_of(data / "ct_organ" / "labels-132.nii.gz") == [0, 1, 2, 3, 4, 5, 6]


@pytest.fixture
def organs(tmp_path):
    """Two slices of 2 x 3: all labels but bone in the first, brain alone in the second."""
    label = np.array([[[1, 2, 3], [4, 6, 0]], [[6, 6, 0], [0, 0, 0]]], np.float64) * 0.9999
    small(tmp_path, {"volume-3.nii.gz": None, "labels-3.nii.gz": label})
    return tmp_path


def test_organ_the_brain_is_no_class_and_its_slices_no_cases(organs):
    masks, case = masks_of(at(organs, "ct_organ"))
    assert list(masks) == ["Liver", "Bladder", "Lung", "Kidney", "Bone"]
    assert masks["Kidney"] == [[0, 0, 0], [1, 0, 0]]
    assert not case.masks["Bone"].any()
    # The released code takes any label for foreground, the brain's too.
    np.testing.assert_array_equal(case.labelled, [[1, 1, 1], [1, 1, 0]])


def test_organ_the_brain_can_be_made_a_class(organs):
    dataset = at(organs, "ct_organ")
    dataset = dataclasses.replace(
        dataset, classes={**dataset.classes, "Brain": (6,)}, other_labels=()
    )
    assert [reference.slice_index for reference in dataset.list().references] == [0, 1]


def test_organ_an_unknown_label_is_listed(organs):
    small(organs, {"volume-4.nii.gz": None, "labels-4.nii.gz": np.full((1, 2, 3), 7, np.uint8)})
    (exclusion,) = at(organs, "ct_organ").list().exclusions
    assert exclusion.case_id == "4"
    assert "label values [7] are not among the declared [0, 1, 2, 3, 4, 5, 6]" in exclusion.reason


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].modality == "CT"])
def test_ct_is_shown_in_a_soft_tissue_window_that_the_settings_tell(name):
    assert DATASETS[name].intensity == Window(40, 400)
    assert DATASETS[name].settings()["intensity"] == {"type": "Window", "centre": 40, "width": 400}


def test_organ_lungs_and_bones_have_windows_of_their_own(data):
    dataset = load_dataset("ct_organ", data)
    volumes = drawn("ct_organ")
    reference = dataset.list().references[0]
    values = volumes[reference.patient_id].image[reference.slice_index]
    views = {tuple(case.masks): case.image for case in dataset.views(reference)}
    assert list(views) == [("Liver", "Bladder", "Kidney"), ("Lung",), ("Bone",)]
    for names, window in zip(
        views, (Window(40, 400), Window(-600, 1500), Window(400, 1800)), strict=True
    ):
        np.testing.assert_array_equal(views[names], window(values))
        np.testing.assert_array_equal(dataset.load(reference, names[0]).image, window(values))
    shown = dataset.settings()["class_intensity"]
    assert (
        shown["Lung"] == {"type": "Window", "centre": -600, "width": 1500} and "Liver" not in shown
    )


# ---- the Decathlon


@pytest.mark.parametrize(("name", "task"), DECATHLON.items())
def test_decathlon_files_are_as_distributed(data, name, task):
    root = data / name / task
    content = json.loads((root / "dataset.json").read_text())
    labels = {int(label) for label in content["labels"]}
    for entry in content["training"]:
        for path in (root / entry["image"], root / entry["label"]):
            assert path.is_file()
            assert path.with_name(f"._{path.name}").is_file()
        assert set(labels_of(root / entry["label"])) <= labels
    assert {0, *(label for values in DATASETS[name].classes.values() for label in values)} == labels
    assert all((root / entry).is_file() for entry in content["test"])
    assert not load_dataset(name, data).list().exclusions


# ---- PET


def test_pet_files_are_as_distributed(data):
    root = data / "pet_wholebody" / "FDG-PET-CT-Lesions"
    studies = [folder for patient in root.iterdir() for folder in patient.iterdir()]
    assert len(studies) == 4
    for study in studies:
        assert sorted(path.name for path in study.iterdir()) == [
            *("CT.nii.gz", "CTres.nii.gz", "PET.nii.gz", "SEG.nii.gz", "SUV.nii.gz")
        ]
        assert nibabel.load(study / "SUV.nii.gz").get_data_dtype() == np.float32


def test_pet_studies_of_one_patient_are_counted_as_one_patient(data):
    references = load_dataset("pet_wholebody", data).list().references
    studies = {reference.images[0].parent.name: reference.patient_id for reference in references}
    assert sorted(studies.values()) == ["PETCT_0011f3deaf", "PETCT_0011f3deaf", "PETCT_f5e1c7a2b0"]
    assert {path.name for r in references for path in r.images} == {"SUV.nii.gz"}


def test_pet_a_study_without_lesion_is_listed(data):
    (exclusion,) = load_dataset("pet_wholebody", data).list().exclusions
    assert exclusion.case_id.startswith("PETCT_01140d52d8/")
    assert exclusion.reason.endswith("SEG.nii.gz: no labelled pixel in the volume")


def test_pet_uptake_is_clipped_to_0_to_10():
    uptake = np.array([[-1.0, 0, 5, 10, 40]], np.float32)
    assert DATASETS["pet_wholebody"].intensity(uptake)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


# ---- which slices


@pytest.fixture
def areas(tmp_path):
    """Four slices of 2 x 3 with 1, 4, 3 and 0 labelled pixels, of two classes."""
    label = np.zeros((4, 2, 3), np.uint8)
    label[0, 0, 0] = 1
    label[1] = [[1, 1, 2], [2, 0, 0]]
    label[2, 0] = 2
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    small(tmp_path, {"images/a.nii.gz": None, "masks/a.nii.gz": label})
    return load_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "slices"),
    [
        ({}, [0, 1, 2]),
        ({"min_pixels": 2}, [1, 2]),
        ({"min_pixels": 3}, [2]),  # no class has three pixels in slice 1
        ({"one_slice": True}, [1]),  # both classes together
        ({"one_slice": True, "min_pixels": 3}, [2]),
    ],
)
def test_slices_can_be_chosen_by_area(areas, options, slices):
    listed = areas.read_with(**options).list().references
    assert [reference.slice_index for reference in listed] == slices


def test_a_volume_whose_objects_are_all_too_small_is_listed(areas):
    with pytest.raises(BadInputError, match="no class has 5 pixels in a slice"):
        areas.read_with(min_pixels=5).list()


def test_options_are_part_of_the_settings(areas):
    changed = areas.read_with(min_pixels=2, plane="coronal")
    assert changed.settings()["reader"]["min_pixels"] == 2
    assert changed.settings() != areas.settings()
    for name in DRAWINGS:
        json.dumps(DATASETS[name].settings())


def test_an_unknown_option_is_an_error_that_names_the_options(areas):
    with pytest.raises(
        BadInputError, match=r"no option 'min_area': choose from .*min_pixels, one_slice"
    ):
        areas.read_with(min_area=2)
    with pytest.raises(
        BadInputError, match="plane is 'oblique': choose sagittal, coronal, axial or stored"
    ):
        areas.read_with(plane="oblique")


# ---- compressed files


@pytest.fixture
def noise(tmp_path):
    values = np.random.default_rng(0).integers(0, 999, (20, 20, 5), np.int16)
    nibabel.Nifti1Image(values, AFFINE).to_filename(tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz", values


def test_a_file_of_several_gzip_members_is_read(noise):
    path, values = noise
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:700]) + gzip.compress(content[700:]))
    np.testing.assert_array_equal(read_volume(path).values, values)


def test_bytes_after_the_volume_are_ignored(noise):
    path, values = noise
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"more"))
    np.testing.assert_array_equal(read_volume(path).values, values)


def test_a_damaged_checksum_is_noticed(noise):
    path, _ = noise
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadCaseError, match=r"a\.nii\.gz: cannot be read"):
        read_volume(path)


def test_a_damaged_byte_raises_no_other_error(noise):
    path, _ = noise
    content = gzip.decompress(path.read_bytes())
    refused = 0
    for position in range(352):
        damaged = bytearray(content)
        damaged[position] ^= 255
        path.write_bytes(gzip.compress(damaged, 1))
        try:
            assert read_volume(path).values.ndim == 3
        except BadCaseError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
    assert 10 < refused < 352


def test_memory_does_not_grow_with_the_number_of_volumes(tmp_path):
    label = np.ones((8, 64, 64), np.uint8)
    image = np.random.default_rng(0).integers(0, 999, label.shape, np.int16)
    peaks = {}
    for count in (2, 12):
        root = tmp_path / str(count)
        for number in range(count):
            save_nifti(root / f"volume-{number}.nii.gz", image, (5, 2, 2))
            save_nifti(root / f"labels-{number}.nii.gz", label, (5, 2, 2))
        dataset = at(root, "ct_organ", one_slice=True)
        dataset.load(dataset.list().references[0])  # what is imported at first use is not counted
        tracemalloc.start()
        for reference in dataset.list().references:
            dataset.load(reference)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[12] < 1.15 * peaks[2]
