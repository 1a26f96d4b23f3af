"""Which mask counts after each prompt, and whether the last one is fed back."""

from dataclasses import replace

import numpy as np
import pytest
from segment_anything import SamPredictor

from medsam_utils import PAPER, Click, Protocol, load_dataset, load_model
from medsam_utils.book.explorer.responses import Responses
from medsam_utils.case import BadInputError
from medsam_utils.clicks import PROTOCOLS, SAM_ADVICE, choose_mask
from medsam_utils.results import as_rows
from medsam_utils.simulation import replay, replay_clicks, simulate


@pytest.fixture(scope="module")
def fast():
    return load_model("sam_small", device="cpu")


@pytest.fixture(scope="module")
def case():
    dataset = load_dataset("us_breast")
    return dataset.load(dataset.list().references[0])


def as_sam_advises(case, network, truth_task, clicks):
    """IoU after each click by SamPredictor itself: three masks once, then one, the last fed
    back."""
    from medsam_utils.clicks import click_rng, next_click
    from medsam_utils.metrics import iou

    predictor = SamPredictor(network)
    predictor.set_image(case.image)
    truth, mask, low, points, found = case.masks[truth_task], None, None, [], []
    for n in range(1, clicks + 1):
        rng = click_rng(SAM_ADVICE, case.dataset, case.case_id, "US-Breast", n)
        points.append(next_click(truth, mask, SAM_ADVICE, rng))
        masks, confidence, logits = predictor.predict(
            np.array([(p.col, p.row) for p in points]),
            np.array([int(p.positive) for p in points]),
            mask_input=low,
            multimask_output=n == 1,
        )
        best = int(np.argmax(confidence))
        mask, low = masks[best], logits[best : best + 1]
        found.append(iou(mask, truth))
    return found


def test_sam_advice_in_the_exact_mode_is_sams_own_predictor(case):
    exact = load_model("sam_small", device="cpu", exact=True)
    task = next(iter(case.masks))
    rows = as_rows(list(simulate(case, {task: "US-Breast"}, exact, SAM_ADVICE, 5)))
    assert rows["iou"].tolist() == as_sam_advises(case, exact.network, task, 5)


def test_the_single_mask_is_one_candidate(case, fast):
    task = next(iter(case.masks))
    rows = as_rows(list(simulate(case, {task: "t"}, fast, replace(PAPER, mask_choice="single"), 2)))
    assert rows["iou_0"].tolist() == rows["iou"].tolist()
    assert rows["iou_1"].isna().all()


def test_the_single_mask_is_the_same_in_both_modes(case, fast):
    exact = load_model("sam_small", device="cpu", exact=True)
    clicks = [[Click(40, 50, True, 1.0, 1)]]
    one, other = (
        model.predict(model.encode(case.image), clicks, multimask=False) for model in (exact, fast)
    )
    assert one.logits.shape == other.logits.shape == (1, 1, 128, 128)
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-3)


@pytest.mark.parametrize("protocol", [SAM_ADVICE, replace(PAPER, mask_choice="single")])
def test_a_stored_row_is_drawn_again(case, fast, protocol):
    task = next(iter(case.masks))
    rows = as_rows(list(simulate(case, {task: "t"}, fast, protocol, 4)))
    rows = rows.assign(protocol=protocol.name)
    for click in (1, 4):
        mask, truth = replay(case, fast, rows, click), case.masks[task]
        iou = (mask & truth).sum() / (mask | truth).sum()
        assert iou == pytest.approx(rows.loc[rows["click"] == click, "iou"].iloc[0], abs=1e-6)


def test_masks_of_several_rows_are_decoded_once_each(case, fast, monkeypatch):
    task = next(iter(case.masks))
    rows = as_rows(list(simulate(case, {task: "t"}, fast, SAM_ADVICE, 4)))
    rows = rows.assign(protocol=SAM_ADVICE.name)
    last, embedding = replay(case, fast, rows, 4), fast.encode(case.image)
    calls, predict = [], fast.predict
    monkeypatch.setattr(
        fast, "predict", lambda *args, **kw: (calls.append(args), predict(*args, **kw))[1]
    )
    masks = list(replay_clicks(case, fast, rows, range(1, 5), embedding))
    assert len(calls) == len(masks) == 4
    np.testing.assert_array_equal(masks[-1], last)


def test_the_explorer_answers_as_the_evaluation_does(case, fast):
    task = next(iter(case.masks))
    rows = as_rows(list(simulate(case, {task: "t"}, fast, SAM_ADVICE, 3)))
    responses = Responses(case, case.masks[task], "t", {"m": fast}, SAM_ADVICE)
    clicks = responses.simulated("m", 3)
    assert [(c.row, c.col) for c in clicks] == list(zip(rows["row"], rows["col"], strict=True))
    response = responses.respond("m", clicks)
    assert response.iou[response.chosen] == pytest.approx(rows["iou"].iloc[2], abs=1e-6)


def test_models_with_one_mask_take_every_choice(case):
    grabcut = load_model("grabcut")
    task = next(iter(case.masks))
    tables = [
        as_rows(list(simulate(case, {task: "t"}, grabcut, replace(PAPER, mask_choice=rule), 2)))
        for rule in ("most_confident", "single")
    ]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    "protocol",
    [*PROTOCOLS.values(), Protocol(seed=3, box_noise=0.1, prompt="box_all", feedback=True)],
)
def test_a_protocol_is_known_by_its_name(protocol):
    assert Protocol.parse(protocol.name) == protocol


def test_an_unknown_protocol_is_named():
    with pytest.raises(BadInputError, match="papper"):
        Protocol.parse("papper")
    with pytest.raises(BadInputError, match="sed=1"):
        Protocol.parse("paper, sed=1")


@pytest.mark.parametrize(
    ("true_iou", "first", "last"),
    [([0, 0, 0], 0, 2), ([0, 0.1, 0], 1, 1), ([0.2, 0.2, 0], 0, 0), ([0], 0, 0)],
)
def test_where_all_masks_miss_the_object_the_released_oracle_follows_the_third(
    true_iou, first, last
):
    predicted = [0.9] * len(true_iou)
    assert choose_mask("oracle", predicted, true_iou) == first
    assert choose_mask("oracle", predicted, true_iou, "last") == last


def test_only_the_oracle_depends_on_what_comes_last():
    for choice, expected in (("most_confident", 1), ("first", 0), ("single", 0)):
        assert choose_mask(choice, [0.1, 0.9], [0, 0], "last") == expected


def test_the_oracle_ignores_masks_without_a_true_iou():
    assert choose_mask("oracle", [0.9, 0.1], [np.nan, 0.2]) == 1
