"""SAM's fast mode against its exact mode: the same answers but for rounding, the same clicks."""

import numpy as np
import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import Attention
from segment_anything.utils.transforms import ResizeLongestSide

from medsam_utils import PAPER, load_model
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import Case
from medsam_utils.clicks import Click
from medsam_utils.demo.drawings import draw
from medsam_utils.fingerprint import model_files
from medsam_utils.models import sam
from medsam_utils.models.fast.decoder import Decoder
from medsam_utils.models.fast.encoder import FusedAttention, fuse
from medsam_utils.simulation import simulate

SHAPES = [(1, 1), (3, 200), (257, 255), (600, 417), (90, 110)]


@pytest.fixture(scope="module")
def models():
    """The exact and the fast small SAM."""
    return [load_model("sam_small", device="cpu", exact=exact) for exact in (True, False)]


def noisy(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("objects", "clicks"), [(1, 1), (5, 3)])
def test_logits_confidences_and_masks_differ_by_rounding_only(models, shape, objects, clicks):
    rng = np.random.default_rng(1)
    prompts = [
        [
            Click(
                int(rng.integers(shape[0])),
                int(rng.integers(shape[1])),
                bool(rng.integers(2)),
                1.0,
                1,
            )
            for _ in range(clicks)
        ]
        for _ in range(objects)
    ]
    exact, fast = (model.predict(model.encode(noisy(shape)), prompts) for model in models)
    np.testing.assert_allclose(fast.logits, exact.logits, atol=1e-4)
    np.testing.assert_allclose(fast.predicted_iou, exact.predicted_iou, atol=1e-5)
    for i in range(objects):
        for candidate in range(3):
            near = np.abs(exact.upsample(exact.logits[i, candidate])) < 1e-4
            assert np.array_equal(fast.mask(i, candidate) | near, exact.mask(i, candidate) | near)


def test_the_decoder_of_the_released_sizes_differs_by_rounding_only():
    torch.manual_seed(0)
    network = Sam(
        torch.nn.Identity(),
        PromptEncoder(
            embed_dim=256,
            image_embedding_size=(64, 64),
            input_image_size=(1024, 1024),
            mask_in_chans=16,
        ),
        MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        ),
    ).eval()
    with torch.inference_mode():
        features, points = torch.randn(1, 256, 64, 64), torch.rand(2, 3, 2) * 1024
        labels = torch.tensor([[1, 0, 1], [1, 1, 0]])
        sparse, dense = network.prompt_encoder(points=(points, labels), boxes=None, masks=None)
        logits, predicted_iou = network.mask_decoder(
            image_embeddings=features,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        decoder = Decoder(network)
        fast_logits, fast_iou = decoder(decoder.image_tokens(features), points, labels)
    scale = logits.abs().max()
    torch.testing.assert_close(fast_logits / scale, logits / scale, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast_iou, predicted_iou, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(3, 14, 14, 64), (1, 9, 16, 96)])
def test_fused_attention_differs_by_rounding_only(shape):
    torch.manual_seed(0)
    attention = Attention(shape[-1], num_heads=4, use_rel_pos=True, input_size=shape[1:3]).eval()
    for position in (attention.rel_pos_h, attention.rel_pos_w):
        torch.nn.init.normal_(position)
    with torch.inference_mode():
        tokens = torch.randn(shape)
        expected = attention(tokens)
        fuse(attention)
        assert type(attention) is FusedAttention
        assert (attention(tokens) - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize("count", [1, 4, 6])
def test_images_encoded_together_are_those_encoded_alone_whatever_is_beside_them(models, count):
    _, fast = models
    images = [noisy((60 + i, 90)) for i in range(count)]
    prompts = [[Click(20, 30, True, 1.0, 1)]]
    for image, embedding in zip(images, fast.encode_batch(images), strict=True):
        alone = fast.encode(image)
        assert (embedding.resized, embedding.original) == (alone.resized, alone.original)
        torch.testing.assert_close(embedding.features, alone.features, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(
            fast.predict(embedding, prompts).logits, fast.predict(alone, prompts).logits, atol=1e-3
        )
        (beside_others,) = fast.encode_batch([image])
        assert torch.equal(beside_others.features, embedding.features)


def test_objects_of_several_images_are_answered_together_as_by_themselves_whatever_is_beside_them(
    models,
):
    _, fast = models
    rng = np.random.default_rng(2)
    embeddings = [fast.encode(noisy(shape)) for shape in ((60, 80), (120, 50), (300, 300))] * 7
    boxes = np.array([[5, 6, 5 + n, 9 + n] for n in range(len(embeddings))])
    clicks = [
        [Click(int(rng.integers(60)), int(rng.integers(50)), bool(i % 2), 1.0, 1) for i in range(2)]
        for _ in embeddings
    ]
    together = fast.predict_batch(embeddings, clicks, boxes)
    for i, (embedding, answer) in enumerate(zip(embeddings, together, strict=True)):
        given = [clicks[i]], boxes[i : i + 1]
        alone = fast.predict(embedding, *given)
        np.testing.assert_allclose(answer.logits, alone.logits, atol=1e-4)
        np.testing.assert_allclose(answer.predicted_iou, alone.predicted_iou, atol=1e-5)
        assert answer.mask(0, 1).shape == embedding.original
        (beside_nothing,) = fast.predict_batch([embedding], *given)
        assert np.array_equal(beside_nothing.logits, answer.logits)


@pytest.mark.parametrize("boxed", [False, True])
def test_prompts_are_those_of_one_object_at_a_time_bit_by_bit(models, boxed):
    encoder, decoder = models[0].network.prompt_encoder, models[1].decoder
    rng = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for count in (1, 2, 3, 9):
            points = torch.rand((6, count, 2), generator=rng) * 256
            labels = torch.randint(0, 2, (6, count), generator=rng)
            boxes = torch.rand((6, 4), generator=rng) * 256 if boxed else None
            exact = [
                encoder(
                    (points[i : i + 1], labels[i : i + 1]),
                    boxes[i : i + 1] if boxed else None,
                    None,
                )[0]
                for i in range(6)
            ]
            assert torch.equal(decoder._prompts(points, labels, boxes)[:, 5:], torch.cat(exact))


def test_a_mask_without_a_positive_logit_is_empty(models):
    _, fast = models
    prediction = fast.predict(fast.encode(noisy((50, 70))), [[Click(3, 3, True, 1.0, 1)]])
    empty = prediction.upsample_mask(np.full((128, 128), -1, np.float32))
    assert empty.area == 0 and empty.mask().shape == (50, 70)
    everywhere = prediction.upsample_mask(np.ones((128, 128), np.float32))
    assert everywhere.mask().all()


def test_the_same_objects_are_clicked_at_the_same_pixels(models):
    rows = [[], []]
    for number in range(6):
        image, masks = draw(np.random.default_rng([7, number]))
        names = {
            f"object {i}": mask for i, mask in enumerate(masks) if BoxedMask.from_mask(mask).area
        }
        case = Case("drawn", str(number), "none", None, np.repeat(image[..., None], 3, 2), names)
        for model, of_model in zip(models, rows, strict=True):
            of_model += simulate(case, {name: name for name in names}, model, PAPER, 5)
    exact, fast = (
        [(r["task"], r["click"], r["row"], r["col"]) for r in of_model] for of_model in rows
    )
    assert len(exact) >= 50
    assert np.mean([a == b for a, b in zip(exact, fast, strict=True)]) >= 0.97
    assert np.mean([r["iou"] for r in rows[0]]) == pytest.approx(
        np.mean([r["iou"] for r in rows[1]]), abs=1e-3
    )


@pytest.mark.parametrize("shape", [*SHAPES, (256, 100)])
def test_a_grey_image_is_resized_as_three_equal_channels(shape):
    grey = np.repeat(noisy(shape)[..., :1], 3, axis=2)
    assert np.array_equal(sam._resized(grey, 256), ResizeLongestSide(256).apply_image(grey))


def test_the_fingerprint_covers_what_the_model_computes_with():
    assert {"sam.py", "decoder.py", "encoder.py", "folded_attention.py", "bilinear.py"} <= {
        p.name for p in model_files(sam.Sam)
    }
