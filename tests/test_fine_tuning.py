"""Fine-tuning: who is held out, what learns, and that the registry reads what was learnt."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from medsam_utils import load_dataset, load_model
from medsam_utils.book.pages.fine_tuning import (
    answer,
    gains_table,
    learning_curves,
    learning_figure,
)
from medsam_utils.case import BadInputError, CaseReference
from medsam_utils.clicks import Click
from medsam_utils.metrics import iou
from medsam_utils.models.checkpoints import load_state_dict
from medsam_utils.models.fast.bilinear import upsampled_mask
from medsam_utils.workflows.fine_tuning import (
    LowRank,
    candidate_loss,
    examples,
    fine_tune,
    gains,
    split_by_patient,
)
from medsam_utils.workflows.training import decode, save_tensors
from tests.test_chapters import rows_of


@pytest.fixture(scope="module")
def model():
    return load_model("sam_small", device="cpu")


@pytest.fixture(scope="module")
def learnt(model):
    dataset = load_dataset("us_kidney")
    return examples(dataset, dataset.list().references[:2], model)


def references(patients: str) -> list[CaseReference]:
    """A case for each letter, which names its patient."""
    return [CaseReference("d", f"{p}{i}", p, None, (), ()) for i, p in enumerate(patients)]


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_learnt_from_and_held_out(seed):
    cases = references("aabbbcddeeeef")
    learn, held = split_by_patient(cases, 0.4, seed)
    sides = [{reference.patient_id for reference in part} for part in (learn, held)]
    assert not sides[0] & sides[1] and len(sides[1]) == 2
    assert sorted(learn + held) == sorted(cases)
    assert split_by_patient(cases[::-1], 0.4, seed)[1] == held[::-1]  # whatever the order


def test_another_seed_holds_out_others_and_one_patient_cannot_be_divided():
    cases = references("abcdefgh")
    assert len({tuple(split_by_patient(cases, 0.5, seed)[1]) for seed in range(5)}) > 1
    with pytest.raises(BadInputError, match="50% of 1 patients leaves none on one side"):
        split_by_patient(references("aaa"), 0.5)


def test_the_pages_division_of_a_real_listing_shares_no_patient():
    learn, held = split_by_patient(load_dataset("mri_prostate").list().references, 0.5)
    assert not {r.patient_id for r in learn} & {r.patient_id for r in held}
    assert len(learn) > 3 < len(held)  # several slices of each patient


def test_a_target_is_the_truth_on_the_decoder_s_grid(model, learnt):
    assert len(learnt) == 2
    for example in learnt:
        assert example.target.shape == (128, 128) and example.features.shape == (1, 192, 32, 32)
        logits = (example.target - 0.5).numpy()
        again = upsampled_mask(logits, 256, example.pixels.shape[:2], example.truth.shape)
        assert iou(again, example.truth) > 0.93


def test_the_loss_takes_the_best_candidate_and_the_error_of_the_predicted_iou():
    target = torch.zeros(1, 8, 8)
    target[0, 2:6, 2:6] = 1
    right, wrong = 40 * (target - 0.5), torch.full((1, 8, 8), -20.0)
    logits = torch.stack([wrong, right, -right], dim=1)
    loss, true_iou = candidate_loss(logits, torch.tensor([[0.0, 1.0, 0.0]]), target)
    assert true_iou.tolist() == [[0, 1, 0]] and loss < 1e-3
    loss, _ = candidate_loss(logits, torch.tensor([[0.0, 0.4, 0.0]]), target)
    assert loss.item() == pytest.approx(0.36 / 3, abs=1e-3)
    assert candidate_loss(logits[:, [0, 0, 2]], torch.zeros(1, 3), target)[0] > 0.5


def test_decoding_many_images_at_once_is_decoding_each_by_itself(model, learnt):
    network = model.network
    features = torch.cat([example.features for example in learnt]).float()
    points, labels = torch.tensor([[[50.0, 60.0]], [[120.0, 90.0]]]), torch.ones(2, 1)
    with torch.inference_mode():
        answer = decode(network, features, points, labels)
        together, confidence = (part[:, 1:] for part in answer)
        for i in range(2):
            sparse, dense = network.prompt_encoder(
                (points[i : i + 1], labels[i : i + 1]), None, None
            )
            position = network.prompt_encoder.get_dense_pe()
            alone, sure = network.mask_decoder(features[i : i + 1], position, sparse, dense, True)
            assert torch.allclose(together[i], alone[0], atol=1e-3)
            assert torch.allclose(confidence[i], sure[0], atol=1e-4)


def test_learning_moves_the_mask_decoder_alone_and_fits_what_it_saw(model, learnt, tmp_path):
    before = copy.deepcopy(model.network.state_dict())
    weights, history = fine_tune(model, learnt, steps=12, batch=2, clicks=2, learning_rate=1e-3)
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, weights[name])}
    assert moved and all(name.startswith("mask_decoder.") for name in moved)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items()
    )
    assert len(history) == 12 and all(len(step) == 3 for step in history)
    losses = np.array(history)[:, 0]
    assert losses[-4:].mean() < 0.8 * losses[:4].mean()

    save_tensors(weights, tmp_path / "mine.pt")
    loaded = load_model("sam", checkpoint=tmp_path / "mine.pt", device="cpu")
    assert loaded.name == "sam (mine)" and loaded.architecture == "small"
    tuned = load_model("sam_small", device="cpu")
    tuned.network.load_state_dict(weights)
    image = load_dataset("us_kidney").load(load_dataset("us_kidney").list().references[0]).image
    click = [[Click(100, 100, True, 1.0, 1)]]
    answers = [m.predict(m.encode(image), click) for m in (tuned, loaded, model)]
    assert np.array_equal(answers[0].logits, answers[1].logits)  # the same masks after loading
    assert np.array_equal(answers[0].predicted_iou, answers[1].predicted_iou)
    assert not np.array_equal(answers[0].mask(0, 0), answers[2].mask(0, 0))


def test_equal_weights_are_equal_files(tmp_path):
    for name in ("a", "b"):
        save_tensors({"weight": torch.arange(4.0)}, tmp_path / name / "mine.pt")
    first, again = ((tmp_path / name / "mine.pt").read_bytes() for name in ("a", "b"))
    assert first == again and torch.load(tmp_path / "a/mine.pt")["weight"].tolist() == [0, 1, 2, 3]


def test_adapters_begin_as_nothing_and_end_in_the_encoder_s_attention(model, learnt):
    weight = torch.randn(6, 4)
    assert torch.equal(LowRank(weight, 2)(weight), weight)
    weights, _ = fine_tune(model, learnt, steps=2, batch=1, clicks=1, rank=2)
    before = load_state_dict(model.checkpoint.path())
    assert weights.keys() == before.keys()  # a checkpoint like any other
    moved = {
        name: weights[name] - t
        for name, t in before.items()
        if not torch.equal(t.float(), weights[name])
    }
    encoder = {name for name in moved if name.startswith("image_encoder.")}
    assert encoder and all(name.endswith("attn.qkv.weight") for name in encoder)
    assert {torch.linalg.matrix_rank(moved[name], rtol=1e-3).item() for name in encoder} == {2}


def tables():
    """Six held-out patients that gain 0.2, six that were learnt from and gain 0.4, elsewhere all
    lose 0.1."""
    here = {f"{side}{i}": [0.3 + i / 100, 0.5] for side in "hl" for i in range(6)}
    before = pd.concat([rows_of("T", **here), rows_of("U", **here).assign(dataset="other")])
    of = before["patient_id"].str[0].map({"h": 0.2, "l": 0.4})
    gained = np.where(before["dataset"] == "d", of, -0.1)
    return before, before.assign(model="tuned", iou=before["iou"] + gained)


HELD = {f"h{i}" for i in range(6)}


def kidney_gains(before, after, held_out=HELD):
    """Gains of task "T", from which all patients but these were learnt, after clicks 1 and 2."""
    return gains(before, after, {"T"}, held_out, (1, 2))


def test_gains_are_told_apart_by_who_was_learnt_from():
    table = kidney_gains(*tables())
    assert list(table["of"].unique()) == ["held out", "learnt from", "elsewhere"]
    table = table.set_index(["of", "click"])
    assert table["difference"].round(6).groupby("of").first().to_dict() == {
        **{"held out": 0.2, "learnt from": 0.4, "elsewhere": -0.1},
    }
    assert (
        table.loc[("held out", 1), "patients"] == 6 and table.loc[("elsewhere", 1), "task"] == "U"
    )
    assert table.loc[("held out", 2), ["before", "after"]].tolist() == pytest.approx([0.5, 0.7])


def test_the_answer_says_what_the_interval_allows():
    before, after = tables()
    shown = answer(kidney_gains(before, after)).html
    assert "T gains <strong>+0.20</strong> IoU" in shown and "on 6 held-out patients" in shown
    assert "on 12 patients of a dataset that it did not see. All: demo." in shown
    assert "+0.40" not in shown  # who was learnt from tells nothing
    assert "T loses <strong>-0.20</strong> IoU" in answer(kidney_gains(after, before)).html
    mixed = before.assign(
        iou=before["iou"] + before["patient_id"].str[1].astype(int) % 2 * 0.2 - 0.1
    )
    assert "T changes by no more than chance" in answer(kidney_gains(before, mixed)).html
    few = answer(kidney_gains(before, after, {"h1", "h2"})).html
    assert "too few patients to tell" in few


def test_the_table_has_a_line_for_each_side_and_click_with_intervals():
    table = gains_table(kidney_gains(*tables()))
    assert len(table.frame) == 6 and "+0.200 (+0.200 to +0.200)" in set(table.frame["difference"])


def test_curves_of_learning_are_loss_first_click_and_last():
    history = [(1.0, 0.2, 0.3, 0.4), (0.5, 0.4, 0.5, 0.6)]
    curves = learning_curves(history)
    by_line = curves.groupby("line", sort=False)["value"].agg(list).to_dict()
    assert by_line == {"loss": [1.0, 0.5], "first click": [0.2, 0.4], "last click": [0.4, 0.6]}
    assert curves["step"].tolist() == [1, 2] * 3
    shown = learning_figure(curves, "demo").html
    assert "loss · demo" in shown and "IoU on what it learns from · demo" in shown
    assert "first click from 0.30 to 0.30; last click from 0.50 to 0.50" in shown
