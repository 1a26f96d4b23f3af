"""live.py: a state goes in, what the models answer comes out; the widget itself needs no kernel for
that."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from test_explorer import mask_of, write_folder

from medsam_utils import PAPER, evaluate, load_folder, load_model, next_click
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.case import BadInputError
from medsam_utils.clicks import RELEASED_CODE, Click, click_rng
from medsam_utils.metrics import iou
from medsam_utils.models import Model, as_prediction
from medsam_utils.models.grabcut import GrabCut


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("own"), ["a", "b", "c"], (60, 48), (1, 2), spill=4)
    return load_folder(root, name="Two squares")


@pytest.fixture
def explorer(subject):
    return Explorer(subject, ["grabcut"])


def test_an_empty_state_is_filled_in_and_shows_the_first_case(explorer, subject):
    assert explorer.state == {
        "dataset": "Two squares",
        "task": "Two squares: label 1",
        "case": "a",
        "clicks": [],
    }
    assert explorer.answers[0]["mask"] == "" and explorer.answers[0]["iou"] is None
    truth = mask_of(explorer.scene["truth"], explorer.scene["shape"])
    assert np.array_equal(truth, subject.load(subject.list().references[0]).masks["label 1"])


def test_a_list_of_clicks_gets_the_models_answer(explorer, subject):
    explorer.state = {**explorer.state, "case": "b", "clicks": [[12, 18, 1], [2, 2, 0]]}
    (answer,) = explorer.answers
    case = subject.load(subject.list().references[1])
    model = load_model("grabcut")
    assert answer["clicks"] == [[12, 18, 1], [2, 2, 0]]
    given = [Click(12, 18, True, 0.0, 0), Click(2, 2, False, 0.0, 0)]
    expected = model.predict(model.encode(case.image), [given]).mask(0, 0)
    assert np.array_equal(mask_of(answer["mask"], expected.shape), expected)
    assert answer["iou"] == pytest.approx(iou(expected, case.masks["label 1"]), abs=5e-5)


class Region(Model):
    """Answers with the bright region at the first click."""

    candidates = 1

    def encode(self, image):
        return image[..., 0] > 150

    def predict(self, embedding, clicks):
        labels = cv2.connectedComponents(embedding.view(np.uint8))[1]
        masks = [labels == labels[one[0].row, one[0].col] for one in clicks]
        return as_prediction(np.array(masks), embedding.shape)


def test_each_of_several_objects_of_a_class_is_judged_by_its_own_region(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 5:15] = mask[20:30, 35:45] = 255  # two squares of equal size
    for folder in ("images", "masks"):
        (tmp_path / "own" / folder).mkdir(parents=True)
        Image.fromarray(mask).save(tmp_path / "own" / folder / "a.png")
    explorer = Explorer(load_folder(tmp_path / "own"), {"region": Region()})

    def show(number, clicks):
        explorer.state = {**explorer.state, "object": number, "clicks": clicks}
        return explorer.answers[0]["iou"]

    assert show(1, [[9, 9, 1]]) == 0.5  # the class's only object: half of the class
    assert show(2, [[24, 39, 1]]) == 1
    assert show(1, [[9, 9, 1]]) == 1  # there is another one by now
    explorer.next_click()
    assert explorer.state["clicks"] == [[9, 9, 1]]  # nothing of this object is wrong
    assert show(2, [[0, 0, 0], [24, 39, 1]]) == 0  # all but the squares, against the second one


@pytest.mark.parametrize("protocol", [PAPER, RELEASED_CODE], ids=lambda p: p.name)
def test_a_number_of_clicks_is_what_the_evaluation_stored(subject, protocol):
    rows = evaluate(subject, load_model("grabcut"), protocol, clicks=5)
    explorer = Explorer(subject, ["grabcut"], protocol=protocol)
    for (task, case), of_object in rows.groupby(["task", "case_id"]):
        explorer.state = {"task": task, "case": case, "clicks": 5}
        made = of_object[of_object["row"] >= 0]
        expected = made[["row", "col", "positive"]].astype(int).values.tolist()
        assert explorer.answers[0]["clicks"] == expected
        assert explorer.answers[0]["iou"] == pytest.approx(of_object["iou"].iloc[-1], abs=5e-5)


def test_the_next_click_of_algorithm_1_follows_ones_own(explorer, subject):
    explorer.state = {**explorer.state, "clicks": [[8, 11, 1]]}
    mask = mask_of(explorer.answers[0]["mask"], explorer.scene["shape"])
    truth = subject.load(subject.list().references[0]).masks["label 1"]
    rng = click_rng(PAPER, subject.name, "a", explorer.state["task"], 2)
    expected = next_click(truth, mask, PAPER, rng)
    explorer._receive(explorer, {"next": ["grabcut"]}, [])
    assert explorer.state["clicks"] == [
        [8, 11, 1],
        [expected.row, expected.col, int(expected.positive)],
    ]


def test_ones_own_clicks_are_compared_with_as_many_simulated_ones(explorer):
    explorer.state = {**explorer.state, "clicks": 2}
    simulated = explorer.answers[0]
    explorer.state = {**explorer.state, "clicks": [[8, 11, 1], [40, 40, 0]]}
    assert explorer.answers[0]["simulated"] is None
    explorer._receive(explorer, {"compare": [True]}, [])
    beside = explorer.answers[0]["simulated"]
    assert (beside["clicks"], beside["iou"]) == (simulated["clicks"], simulated["iou"])


def test_an_image_is_encoded_once_however_often_it_is_clicked(explorer, monkeypatch):
    seen, encode = [], GrabCut.encode
    monkeypatch.setattr(
        GrabCut, "encode", lambda self, image: seen.append(1) or encode(self, image)
    )
    explorer.state = {**explorer.state, "case": "c"}
    for clicks in ([[9, 9, 1]], [[9, 9, 1], [3, 3, 0]], 3, []):
        explorer.state = {**explorer.state, "clicks": clicks}
    assert len(seen) == 1


def test_a_state_is_read_written_and_resumed_exactly(explorer, subject):
    explorer.state = {"case": "c", "task": "Two squares: label 2", "clicks": [[40, 25, 1]]}
    again = Explorer(subject, ["grabcut"], state=explorer.state)
    assert (
        again.state == explorer.state
        and again.answers == explorer.answers
        and again.scene == explorer.scene
    )


def test_cases_are_sorted_by_iou_where_rows_are_given(subject):
    rows = evaluate(subject, load_model("grabcut"), clicks=1)
    explorer = Explorer(subject, ["grabcut"], rows=rows)
    of_task = rows[rows["task"] == "Two squares: label 1"].sort_values(["iou", "case_id"])
    assert [case["case"] for case in explorer.choices["cases"]] == of_task["case_id"].tolist()


def test_a_single_image_file_is_clicked_on_without_a_truth(tmp_path):
    image = np.zeros((50, 70), np.uint16)
    image[10:30, 20:45] = 4000
    Image.fromarray(image).save(tmp_path / "one.png")
    explorer = Explorer(tmp_path / "one.png", ["grabcut"], state={"clicks": [[20, 30, 1]]})
    (answer,) = explorer.answers
    assert explorer.scene["truth"] is None and answer["iou"] is None
    assert mask_of(answer["mask"], (50, 70))[20, 30]
    explorer._receive(
        explorer, {"next": ["grabcut"]}, []
    )  # nothing to compare with: nothing happens
    assert explorer.state["clicks"] == [[20, 30, 1]]


def test_a_case_that_cannot_be_read_says_so_and_the_next_one_works(tmp_path):
    root = write_folder(tmp_path, ["a", "b"])
    (root / "images/a.png").write_bytes(b"no image")
    explorer = Explorer(load_folder(root, name="Broken", classes={"object": 255}), ["grabcut"])
    assert "a.png" in explorer.answers[0]["problem"]
    explorer.state = {**explorer.state, "case": "b", "clicks": 1}
    assert explorer.answers[0]["problem"] == "" and explorer.answers[0]["iou"] > 0


def test_a_box_is_a_prompt_and_a_model_that_takes_none_says_so(subject):
    box = [5, 12, 22, 32]
    explorer = Explorer(subject, ["sam_small", "ritm_small"], state={"case": "b", "box": box})
    case, model = subject.load(subject.list().references[1]), load_model("sam_small")
    prediction = model.predict(model.encode(case.image), [[]], boxes=np.array([box]))
    expected = prediction.mask(0, int(prediction.most_confident()[0]))
    boxed, refused = explorer.answers
    assert np.array_equal(mask_of(boxed["mask"], expected.shape), expected) and expected.any()
    assert "takes no boxes" in refused["problem"] and refused["mask"] == ""
    explorer.next_click("sam_small")  # Algorithm 1 looks at the mask that the box gave
    (click,) = explorer.state["clicks"]
    truth = case.masks["label 1"]
    assert explorer.state["box"] == box and click[2] == truth[*click[:2]] != expected[*click[:2]]
    boxed, clicked = explorer.answers
    assert "its clicks alone" in clicked["problem"]
    alone = Explorer(subject, ["ritm_small"], state={"case": "b", "clicks": [click]}).answers[0]
    assert clicked["mask"] == alone["mask"] != ""


def test_a_candidate_chosen_by_hand_counts_instead_of_the_most_confident(subject):
    explorer = Explorer(subject, ["sam_small", "grabcut"], state={"clicks": [[12, 18, 1]]})
    case, model = subject.load(subject.list().references[0]), load_model("sam_small")
    prediction = model.predict(model.encode(case.image), [[Click(12, 18, True, 0, 0)]])
    masks = [prediction.mask(0, candidate) for candidate in range(3)]
    assert not np.array_equal(masks[0], masks[2])
    for candidate, mask in enumerate(masks):
        explorer.state = {**explorer.state, "candidate": {"sam_small": candidate}}
        sam, grabcut = explorer.answers
        assert sam["chosen"] == candidate and grabcut["chosen"] == 0
        assert [sam["predicted"], sam["iou"]] == sam["candidates"][candidate]
        assert np.array_equal(mask_of(sam["mask"], mask.shape), mask)
    explorer.accept("sam_small")
    (annotation,) = explorer.session["annotations"]
    assert (annotation["candidate"], annotation["counts"]) == (2, sam["mask"])
    assert [a["accepted"] for a in explorer.answers] == [True, False]


def test_each_class_of_an_image_has_prompts_of_its_own_that_come_back(explorer):
    explorer.state = {**explorer.state, "clicks": [[8, 11, 1]]}
    explorer.accept()
    explorer.state = {"case": "a", "class": "cyst"}
    assert explorer.state["clicks"] == [] and not explorer.answers[0]["accepted"]
    explorer.state = {**explorer.state, "clicks": [[40, 20, 1]]}
    explorer.accept()
    assert [one["class_name"] for one in explorer.accepted] == ["label 1", "cyst"]
    explorer.state = {"case": "a"}
    assert explorer.state["clicks"] == [[8, 11, 1]] and explorer.answers[0]["accepted"]
    explorer.withdraw()
    assert [one["class_name"] for one in explorer.accepted] == ["cyst"]


def test_two_subjects_of_one_name_are_both_there(tmp_path):
    for folder in ("x", "y"):
        write_folder(tmp_path / folder, ["a"])
    explorer = Explorer([tmp_path / folder / "images/a.png" for folder in ("x", "y")], ["grabcut"])
    assert explorer.choices["datasets"] == ["a.png", "a.png (2)"]


def test_a_folder_is_shown_with_its_masks_or_without_any(tmp_path):
    root = write_folder(tmp_path, ["a", "b 10", "b 9"])
    assert Explorer(root, ["grabcut"]).scene["truth"]
    alone = Explorer(root / "images", ["grabcut"])
    assert alone.scene["truth"] is None
    assert [case["case"] for case in alone.choices["cases"]] == ["a.png", "b 9.png", "b 10.png"]
    with pytest.raises(BadInputError, match="no image is there"):
        Explorer(tmp_path / "nothing", ["grabcut"])
