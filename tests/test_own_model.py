"""A model of one's own: written in a notebook, evaluated, stored, and never with old rows."""

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pooch
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image

import medsam_utils
from medsam_utils import (
    PAPER,
    BadInputError,
    Click,
    Model,
    Protocol,
    as_prediction,
    evaluate,
    load_folder,
)

ROOT = Path(__file__).parent.parent
EXAMPLE, NETWORK = re.findall(
    r"```python\n(.*?)```",
    (ROOT / "book/api/adding_a_model.md").read_text(encoding="utf-8"),
    re.DOTALL,
)


(SHORT,) = re.findall(
    r"```python\n(.*?)```", (ROOT / "book/run.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Three images of a bright square, the working folder's `my_study`."""
    for number in range(3):
        mask = np.zeros((40, 48), np.uint8)
        mask[10:24, 12 : 20 + 4 * number] = 255
        for folder, picture in (("images", mask // 2 + 30), ("masks", mask)):
            path = tmp_path / "my_study" / folder / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    monkeypatch.chdir(tmp_path)
    return load_folder("my_study")


class Guess(Model):
    """Answers with the same rectangle, whatever is clicked."""

    name = "guess"

    def encode(self, image):
        return image.shape[:2]

    def predict(self, shape, clicks):
        masks = np.zeros((len(clicks), *shape), bool)
        masks[:, 10:24, 12:20] = True
        return as_prediction(masks, shape)


class Told(Guess):
    def __init__(self, last_col):
        self.last_col = last_col

    def settings(self):
        return {"last_col": self.last_col}

    def predict(self, shape, clicks):
        masks = np.zeros((len(clicks), *shape), bool)
        masks[:, 10:24, 12 : self.last_col] = True
        return as_prediction(masks, shape)


@pytest.mark.slow
def test_the_class_of_the_api_reference_runs_in_a_notebook_and_a_changed_parameter_counts(study):
    """Fresh kernels each time: the source of a cell is all that tells one class from another."""

    def run(code: str) -> tuple[int, float]:
        code += "\nrows.attrs['record']['computed'], rows['iou'].mean()"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
        computed, mean = eval(
            notebook.cells[0].outputs[-1]["data"]["text/plain"].replace("np.float64", "float")
        )
        return computed, mean

    assert run(EXAMPLE) == (3, 1.0)  # the squares are of one grey
    assert run(EXAMPLE) == (0, 1.0)
    parameter = EXAMPLE.replace("tolerance=20", "tolerance=200")
    computed, mean = run(parameter)
    assert computed == 3 and mean < 0.5
    method = EXAMPLE.replace("image.mean(axis=2)", "image.mean(axis=2) * 0")
    computed, mean = run(method)
    assert computed == 3 and mean < 0.5


class InTheBox(torch.nn.Module):
    """Two candidates: all of the box, and what the last mask had of it."""

    def forward(self, image, maps):
        box = maps[:, 2] * 2 - 1
        again = torch.minimum(box, maps[:, 3])
        sure = torch.tensor([[0.5, 0.25]]).expand(len(maps), -1)
        return torch.stack([box, again], dim=1), sure


def test_the_networks_class_of_the_page_gets_boxes_and_its_own_mask_fed_back(study):
    torch.save(InTheBox().state_dict(), "weights.pth")
    names: dict = {"build_network": InTheBox}
    exec(NETWORK, names)
    rows = names["rows"]
    assert len(rows) == 9 and (rows["iou"] == 1).all()  # the squares fill their boxes
    assert set(rows["weights"]) == {pooch.file_hash("weights.pth")}
    model, click = names["model"], Click(12, 13, True, 1.0, 1)
    image = model.encode(np.zeros((40, 48, 3), np.uint8))
    last = np.full((1, 40, 48), -1, np.float32)
    last[0, 10:12, 12:20] = 3
    prediction = model.predict(image, [[click]], np.array([[10, 12, 23, 19]]), last)
    assert [prediction.mask(0, i).sum() for i in (0, 1)] == [14 * 8, 2 * 8]
    assert prediction.predicted_iou.tolist() == [[0.5, 0.25]]
    assert model.predict(image, [[click]], multimask=False).logits.shape == (1, 1, 40, 48)
    with pytest.raises(ValueError, match="needs a prompt"):
        model.predict(image, [[]])


def test_a_model_that_takes_clicks_alone_needs_no_other_parameter(study):
    rows = evaluate(study, Guess(), clicks=2)
    expected = [8 * 14 / (14 * (8 + 4 * number)) for number in range(3)]
    assert rows[rows["click"] == 2]["iou"].tolist() == expected


def test_rows_of_a_model_that_does_not_name_its_parameters_are_not_stored(study):
    with pytest.raises(BadInputError, match=r"Guess does not say what decides its rows.*settings"):
        evaluate(study, Guess(), clicks=1, store="results")


def test_a_changed_parameter_or_method_never_gets_old_rows(study, monkeypatch):
    def computed(model: Model) -> int:
        rows = evaluate(study, model, clicks=1, store="results")
        return rows.attrs["record"]["computed"]

    assert [computed(Told(20)), computed(Told(20)), computed(Told(24))] == [3, 0, 3]
    assert evaluate(study, Told(20), clicks=1, store="results")["iou"].iloc[0] == 1


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        (np.array([[[0, 1], [0, 1]]], bool), [[[0, 1], [0, 1]]]),
        (np.array([[[-3.0, 2.0], [-1.0, 0.5]]]), [[[0, 1], [0, 1]]]),
        (
            np.array([[[[0, 1], [0, 1]], [[1, 1], [0, 0]]]], bool),
            [[[0, 1], [0, 1]], [[1, 1], [0, 0]]],
        ),
    ],
)
def test_masks_and_logits_with_one_or_several_candidates_are_taken(masks, expected):
    prediction = as_prediction(masks, (2, 2))
    found = [prediction.mask(0, i).astype(int).tolist() for i in range(len(expected))]
    assert found == expected and np.isnan(prediction.predicted_iou).all()


def test_low_resolution_is_resized_to_the_image_and_confidences_decide():
    masks = np.array([[[[1, 0]], [[0, 1]]]], bool)
    prediction = as_prediction(masks, (2, 4), predicted_iou=[0.2, 0.9])
    assert prediction.most_confident().tolist() == [1]
    assert prediction.mask(0, 1).tolist() == [[False, False, True, True]] * 2


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="give B x h x w"):
        as_prediction(np.zeros((4, 4)), (4, 4))
    with pytest.raises(ValueError):
        as_prediction(np.zeros((1, 4, 4)), (4, 4), predicted_iou=[0.1, 0.2])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dataset": "my_study"}, "dataset is 'my_study'.*load_folder"),
        ({"model": "sam_small"}, "model is 'sam_small'.*load_model"),
        ({"protocol": "released-code"}, "protocol is 'released-code'.*RELEASED_CODE"),
        ({"clicks": 0}, "clicks is 0: give 1 or more"),
        ({"max_cases": 0}, "max_cases is 0: give 1 or more"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_write_instead(study, wrong, words):
    arguments = {"dataset": study, "model": Guess(), **wrong}
    with pytest.raises(BadInputError, match=words):
        evaluate(**arguments)


def test_every_public_name_is_there_and_a_click_needs_three_values():
    for name in medsam_utils.__all__:
        assert getattr(medsam_utils, name) is not None
    assert Click(3, 4, True).positive
    with pytest.raises(AttributeError, match="no attribute 'expolrer'"):
        medsam_utils.expolrer  # noqa: B018


def test_a_value_that_a_protocol_does_not_know_is_refused_with_the_nearest_one():
    words = "mask_choice of the protocol 'most_confidant' is unknown: did you mean 'most_confident'"
    with pytest.raises(BadInputError, match=words):
        Protocol(mask_choice="most_confidant")
    with pytest.raises(BadInputError, match="label of the protocol 'x' is unknown"):
        replace(PAPER, label="x")
    assert Protocol(later_mask_choice="single").later_mask_choice == "single"


def test_exported_masks_are_those_of_the_rows(study):
    model = Told(24)
    rows = evaluate(study, model, clicks=2)
    paths = medsam_utils.export_masks(rows, study, model, "out")
    assert [path.name for path in paths] == [f"{number}__object.png" for number in range(3)]
    for path, iou in zip(paths, rows[rows["click"] == 2]["iou"], strict=True):
        mask = np.array(Image.open(path))
        assert set(np.unique(mask)) == {0, 255}
        case = study.load(path.name.split("__")[0])
        assert medsam_utils.iou(mask > 0, case.masks["object"]) == iou
    with pytest.raises(BadInputError, match="no row is of guess"):
        medsam_utils.export_masks(rows.assign(model="other"), study, Guess(), "out")


def test_the_short_example_finds_the_square_with_one_click(study):
    names: dict = {}
    exec(SHORT, names)
    rows = names["rows"]
    assert rows.groupby("case_id").size().gt(0).all() and rows["case_id"].nunique() == 3
    assert (rows.loc[rows["click"] == 1, "iou"] == 1).all()
    assert set(rows["model"]) == {"Flood"}
