"""The readers on real image and mask pairs, where a checkout has them beside it."""

import numpy as np
import pytest
import realdata

from medsam_utils import load_dataset, load_folder

pytestmark = pytest.mark.skipif(
    not realdata.available(), reason=f"no real pairs in {realdata.REALDATA}"
)
SETS = sorted(realdata.sets()) if realdata.available() else []


def count(set_name, tmp_path, **options):
    """Return {key: (labelled pixels, slices, shape of the last)} of one set, read by
    `load_folder`."""
    dataset = load_folder(
        realdata.stage(set_name, tmp_path), intensity=realdata.intensity(set_name), **options
    )
    listing = dataset.list()
    assert not listing.exclusions
    counts = {}
    for reference in listing.references:
        case = dataset.load(reference)
        assert case.image.max() > case.image.min()
        pixels, slices, _ = counts.get(reference.patient_id, (0, 0, None))
        counts[reference.patient_id] = (
            pixels + case.masks["object"].sum(),
            slices + 1,
            case.image.shape[:2],
        )
    return counts


@pytest.mark.parametrize("set_name", SETS)
def test_every_pair_has_the_foreground_that_its_record_says(set_name, tmp_path):
    counts = count(set_name, tmp_path)
    lines = realdata.pairs(set_name)
    assert sorted(counts) == sorted(line["key"] for line in lines)
    for line in lines:
        pixels, _, shape = counts[line["key"]]
        if "union" in line["note"]:
            assert pixels > int(line["foreground_pixels"])  # the record counts the first mask only
        else:
            assert pixels == int(line["foreground_pixels"])
        if line["shape"].count("x") == 1:
            assert shape == tuple(int(n) for n in line["shape"].split("x"))


@pytest.mark.parametrize("set_name", [name for name in SETS if name in realdata.VOLUMES])
def test_volumes_have_the_slices_that_their_record_says(set_name, tmp_path):
    # Their record counts along the third axis, which is axial but for one volume, a sagittal one.
    axial, sagittal = (
        count(set_name, tmp_path / plane, plane=plane) for plane in ("axial", "sagittal")
    )
    for line in realdata.pairs(set_name):
        counts = sagittal if line["key"] == "t2" else axial
        assert counts[line["key"]][1] == int(line["note"].split()[0])


def test_pairs_in_the_studys_own_form_are_found_by_the_datasets_name():
    for name in ("us_breast", "xray_chest", "mri_heart"):
        dataset = load_dataset(name, realdata.REALDATA)
        assert dataset.level == "measured"
        references = dataset.list().references
        assert len(references) == realdata.sets()[name]
        (mask,) = dataset.load(references[0]).masks.values()
        assert 0 < np.count_nonzero(mask) < mask.size
