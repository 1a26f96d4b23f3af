"""The table of datasets: what it counts, and that it hides neither a missing nor a broken one."""

import dataclasses

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from medsam_utils import DATASETS, MODELS, load_dataset
from medsam_utils.book.pages import catalogue
from medsam_utils.book.pages.catalogue import Count
from medsam_utils.book.render.state import data_state
from medsam_utils.datasets.sources import ARCHIVES, HOW, PACKAGES


@pytest.fixture
def nerves(tmp_path):
    """Four real-looking frames of two subjects, one of them without a nerve."""
    folder = tmp_path / "us_nerve"
    folder.mkdir()
    for name, value in (("1_1", 255), ("1_2", 255), ("2_1", 0), ("3_1", 255)):
        Image.fromarray(np.eye(8, dtype=np.uint8) * 100).save(folder / f"{name}.tif")
        Image.fromarray(np.eye(8, dtype=np.uint8) * value).save(folder / f"{name}_mask.tif")
    return tmp_path


def test_images_with_an_object_are_counted_if_masks_are_read(nerves):
    assert catalogue.counts(["us_nerve"], nerves, read_up_to=4) == {
        "us_nerve": Count("measured", 3, 2, 3)
    }


def test_a_large_dataset_is_only_listed_and_says_so(nerves):
    counted = catalogue.counts(["us_nerve"], nerves, read_up_to=3)
    assert counted == {"us_nerve": Count("measured", 4, 3, None)}
    text = catalogue.table(counted).html
    assert "up to 4" in text
    assert "not counted" in text


def test_each_class_of_an_image_is_an_object(tmp_path):
    dataset = dataclasses.replace(
        DATASETS["us_nerve"], classes={"a": (1,), "b": (2,), "c": (3,)}, root=tmp_path
    )
    Image.fromarray(np.eye(8, dtype=np.uint8) * 100).save(tmp_path / "1_1.tif")
    Image.fromarray(np.diag([1, 1, 2]).astype(np.uint8)).resize((8, 8), 0).save(
        tmp_path / "1_1_mask.tif"
    )
    assert catalogue.count(dataset, 10) == Count("measured", 1, 1, 2)


def test_a_folder_without_cases_is_told_and_stops_nothing(tmp_path):
    (tmp_path / "us_nerve").mkdir()
    counted = catalogue.counts(["us_nerve"], tmp_path, 10)
    assert "no case of us_nerve in it" in counted["us_nerve"].error
    assert "no case of us_nerve in it" in catalogue.table(counted).html


def test_phantoms_are_announced_and_real_files_are_not():
    demo, measured = Count("demo", 1, 1), Count("measured", 1000, 20)
    assert "not medical images" in catalogue.banner({"a": demo, "b": measured}).html
    assert catalogue.banner({"a": measured}).html == ""


def test_the_answer_counts_what_is_here_and_neither_phantoms_nor_what_cannot_be_read():
    demo, measured = Count("demo", 7, 7), Count("measured", 1000, 20)
    broken = Count("measured", error="no case in it")
    answer = BeautifulSoup(
        catalogue.answer({"a": demo, "b": measured, "c": broken}).html, "html.parser"
    )
    assert answer.get_text() == (
        "1 of 3 datasets are here, with 1,000 images of 20 patients; phantoms stand in for 1."
    )
    assert (
        "0 of 1 datasets are here; phantoms"
        in BeautifulSoup(catalogue.answer({"a": demo}).html, "html.parser").get_text()
    )


def test_all_datasets_stand_in_the_order_of_the_studys_table():
    names = catalogue.names_of("all")
    assert sorted(names) == sorted(DATASETS)
    modalities = [catalogue.MODALITIES.index(DATASETS[name].modality) for name in names]
    assert modalities == sorted(modalities)
    assert names.index("us_breast") < names.index("us_nerve")  # which is not of the first version
    assert catalogue.names_of("us_nerve us_breast") == ["us_nerve", "us_breast"]


def test_the_table_has_a_line_with_the_facts_of_each_dataset():
    counted = dict.fromkeys(DATASETS, Count("demo", 1234, 2, 3))
    rows = BeautifulSoup(catalogue.table(counted).html, "html.parser").select("tbody tr")
    assert len(rows) == len(DATASETS)
    for row, entry in zip(rows, DATASETS.values(), strict=True):
        text = row.get_text(" ")
        assert entry.title in text
        assert entry.passport.licence in text
        assert entry.passport.count_rule in text
        assert "1,234" in text


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_passport_shows_label_values_files_and_how_to_get_them(name):
    text = BeautifulSoup(catalogue.passports([name]).html, "html.parser").get_text()
    entry = DATASETS[name]
    assert entry.passport.layout in text
    assert (f"make fetch NAME={name}" in text) == (name in ARCHIVES or name in PACKAGES)
    if name in HOW:
        assert HOW[name].replace("`", "") in text  # which marks code
    for class_name, labels in entry.classes.items():
        shown = ", ".join(map(str, labels)) or "what the mask marks"
        assert f"{class_name} ({shown})" in text


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="dataset 'us_nose' is unknown"):
        catalogue.counts(["us_nose"], tmp_path, 1)


def test_counting_reads_no_image_of_a_large_dataset(nerves, monkeypatch):
    dataset = load_dataset("us_nerve", nerves)
    monkeypatch.setattr(type(dataset), "load", lambda *_: pytest.fail("an image was read"))
    assert catalogue.count(dataset, 0).images == 4


def test_the_page_is_made_again_when_files_of_one_of_its_datasets_arrive(nerves):
    def state():
        return data_state({"datasets": "us_nerve us_kidney", "data": str(nerves)}, nerves)

    first = state()
    assert state() == first
    (nerves / "us_kidney" / "mask").mkdir(parents=True)
    (nerves / "us_kidney" / "mask" / "1.png").touch()
    assert state() != first


def test_the_table_of_weights_says_of_each_model_how_they_are_had():
    page = BeautifulSoup(catalogue.weights_table().html, "html.parser")
    head = [cell.text for cell in page("th")]
    lines = {line("td")[0].code.text: [cell.text for cell in line("td")] for line in page("tr")[1:]}
    assert list(lines) == list(MODELS)
    size, source = head.index("Weights"), head.index("How they are had")
    assert lines["sam_vit_b"][size] == "375 MB" and lines["ritm_h18"][size] == "–"
    assert lines["sam_vit_h"][source].endswith("verified with the published hash")
    assert lines["ritm_h32"][source].endswith("verified with the hash of the first download")
    assert (
        "bowang-lab/MedSAM" in lines["medsam_vit_b"][source]
        and lines["grabcut"][source] == "needs none"
    )
    assert lines["sam_small"][source] == "in the repository" and lines["sam_small"][size].endswith(
        " MB"
    )


def test_the_table_of_models_says_of_each_what_it_learned_from_what_it_takes_and_what_ran_here():
    page = BeautifulSoup(catalogue.models_table().html, "html.parser")
    head = [cell.text for cell in page("th")]
    for line, (name, entry) in zip(page("tr")[1:], MODELS.items(), strict=True):
        cells = dict(zip(head, (cell.text for cell in line("td")), strict=True))
        assert cells["Trained with"] == entry.facts.trained
        assert cells["Input, pixels"] == entry.facts.side
        assert cells["Ran here with"] == entry.facts.ran
        expected = "clicks" if name.startswith(("ritm", "simpleclick")) else "clicks, a box"
        assert cells["Takes"].startswith(expected) and len(cells["Takes"]) >= len(expected)
    weights = BeautifulSoup(catalogue.weights_table().html, "html.parser").text
    assert "huggingface.co/facebook/sam3, fetched on first use, or by path" in weights
