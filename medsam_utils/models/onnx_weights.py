"""Weights of a SAM from its two ONNX files: tensors by the names that they had in PyTorch.

An exporter keeps the names of some tensors and gives others numbers ("onnx::MatMul_1926"), above
all those that it transposed or folded. But it names every node after the module that it belongs to
("/transformer/layers.0/self_attn/q_proj/MatMul"), and so says whose they are.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..case import BadInputError
from .mobile_sam import CHANNELS, build_mobile_sam

if TYPE_CHECKING:
    import onnx


def find_files(folder: Path) -> tuple[Path, Path]:
    """Return the files of image encoder and mask decoder; the latter has the input `point_coords`.

    Raises BadInputError unless the folder has one of each.
    """
    decoders: list[Path] = []
    encoders: list[Path] = []
    for path in sorted(folder.glob("*.onnx")):
        asked = {value.name for value in _read_onnx(path).graph.input}
        (decoders if "point_coords" in asked else encoders).append(path)
    if len(decoders) != 1 or len(encoders) != 1:
        raise BadInputError(
            f"{folder} has {len(encoders)} image encoders and {len(decoders)} mask decoders in "
            "ONNX: give a folder with one of each, the decoder as segment-anything's own script "
            "exports it"
        )
    return encoders[0], decoders[0]


def state_dict(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a SAM by name, from the encoder and the decoder in a folder.

    Those of the image encoder only if it is MobileSAM's: of another, `OnnxEncoder` reads the file.
    Raises BadInputError for a decoder that is not SAM's, naming the tensor that does not fit.
    """
    encoder, decoder = find_files(folder)
    state = decoder_state(decoder)
    try:
        return state | encoder_state(encoder)
    except BadInputError:
        return state


def decoder_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of `PromptEncoder` and `MaskDecoder`, from a decoder in ONNX."""
    expected = _expected("prompt_encoder.", "mask_decoder.")
    found, place = {}, "prompt_encoder.no_mask_embed.weight"
    for name, value in _tensors(path):
        fits = [full for full in expected if f".{name}".endswith(f".{full}")] or [
            full for full in expected if full.endswith(f".{name}")
        ]
        if fits:
            found[fits[0]] = value
        elif not name and value.size == CHANNELS:  # made one: the vectors that depend on no input
            found[place] = value
        elif not name and value.size == 5 * CHANNELS:
            tokens = value.reshape(5, CHANNELS)
            found["mask_decoder.iou_token.weight"] = tokens[:1]
            found["mask_decoder.mask_tokens.weight"] = tokens[1:]
    return _checked(path, found, expected)


def encoder_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of `TinyViT` with the prefix `image_encoder.`, from an encoder in ONNX."""
    expected = _expected("image_encoder.")
    found = {}
    for name, value in _tensors(path):
        found["image_encoder." + re.sub(r"\.c\.(weight|bias)$", r".\1", name)] = value
    for name in [name for name in expected if name.endswith(".attention_biases")]:
        found[name] = found.get(name, np.empty((1, 1)))[:, 0]  # of the first place to all others
    return _checked(path, {name: found[name] for name in expected if name in found}, expected)


@functools.cache
def _expected(*prefixes: str) -> dict[str, tuple[int, ...]]:
    """Shapes of MobileSAM's tensors, by name."""
    with torch.device("meta"):
        state = build_mobile_sam().state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if key.startswith(prefixes)}


def _checked(
    path: Path, found: dict[str, np.ndarray], expected: dict[str, tuple[int, ...]]
) -> dict[str, torch.Tensor]:
    """Tensors in their shapes. Raises BadInputError for one that is missing or of another size."""
    for name, shape in expected.items():
        if name not in found or found[name].size != np.prod(shape, dtype=int):
            fact = f"of shape {found[name].shape}" if name in found else "missing"
            raise BadInputError(
                f"{path} does not fit SAM: {name} is {fact} where {shape} is expected: "
                "give what segment-anything's or MobileSAM's own script exports, not simplified, "
                "quantised or of another model"
            )
        if found[name].dtype.kind in "biuc":
            raise BadInputError(
                f"{path}: {name} holds {found[name].dtype}, real numbers are needed: export the "
                "model as it was trained"
            )
    return {
        name: torch.from_numpy(np.array(found[name], np.float32).reshape(shape))
        for name, shape in expected.items()
    }


def _tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every weight in a file with its name in PyTorch, "" where no module says one.

    Matrices of linear layers are as in PyTorch, a row for each output.
    """
    graph = _read_onnx(path).graph
    weights = {tensor.name: _values(tensor, path) for tensor in graph.initializer}
    for node in graph.node:  # of equal tensors an exporter keeps one, and copies it
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    yield from ((name, value) for name, value in weights.items() if "::" not in name)
    for node in graph.node:
        module = _module(node.name)
        for place, name in enumerate(node.input):
            if name in weights and "::" in name:
                kind = "bias" if place == 2 or node.op_type == "Add" else "weight"
                value = weights[name].T if node.op_type == "MatMul" else weights[name]
                yield f"{module}.{kind}" if module else "", value
        if node.op_type == "Constant" and module.endswith("attn"):
            value = _values(node.attribute[0].t, path)
            if value.ndim == 3:
                yield f"{module}.attention_biases", value


def _values(tensor: onnx.TensorProto, path: Path) -> np.ndarray:
    """Return the numbers of a tensor; raises BadInputError if its bytes do not fit its shape."""
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except MemoryError:
        raise
    except Exception as error:  # NumPy's, and those of unknown kinds of numbers
        raise BadInputError(
            f"{path} cannot be read as ONNX: the tensor {tensor.name!r} is damaged: export or "
            "download it again"
        ) from error


def _module(node: str) -> str:
    """Name of the module that a node belongs to: "/neck/neck.0/Conv" is of neck.0."""
    parts = node.split("/")[1:-1]
    return ".".join(
        part
        for part, inner in zip(parts, [*parts, ""][1:], strict=True)
        if not inner.startswith(f"{part}.")
    )


def _read_onnx(path: Path) -> onnx.ModelProto:
    """Return what a file holds. Raises BadInputError if it is damaged, or no ONNX."""
    try:
        import onnx
    except ImportError as error:
        raise BadInputError(
            'onnx is missing, which reads weights in ONNX: run pip install "medsam-utils[models]"'
        ) from error
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own exceptions, and those of missing external data
        raise BadInputError(
            f"{path} cannot be read as ONNX ({error}): export or download it again"
        ) from error
