"""SAM 2 and SAM 2.1 as their authors release them: a file of tensors by names of their own.

`transformers` calls the same tensors otherwise and keeps the sizes of the network in a
description, which these files do not have: both are worked out here, but for the size of the
image, on which no tensor depends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..case import BadInputError
from .checkpoints import check_tensors, differences, load_state_dict, shapes


@dataclass(frozen=True)
class Size:
    """Size of the image encoder, whose other parts are equal in all sizes.

    channels, heads: of the first stage; each later one has twice as many. blocks: of each stage.
    whole: blocks that look at the whole image. windows: what the others see of it, patches by
    stage. background: side of the position map of the whole image.
    """

    channels: int
    heads: int
    blocks: tuple[int, ...]
    whole: tuple[int, ...]
    windows: tuple[int, ...] = (8, 4, 14, 7)
    background: int = 7


SIZES = {
    "tiny": Size(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": Size(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": Size(112, 2, (2, 3, 16, 3), (12, 16, 20), background=14),
    "large": Size(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}
"""As the authors' configurations say."""

SIDE = 1024
"""Pixels along a side of the network's input, as released."""
COARSEST = 32
"""Pixels of the input that one of the coarsest feature map stands for, along a side."""

_NAMES = (
    (r"^image_encoder\.trunk", "vision_encoder.backbone"),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv", r"vision_encoder.neck.convs.\1"),
    (r"patch_embed\.proj\b", "patch_embed.projection"),
    (r"\bnorm", "layer_norm"),
    (r"^memory_encoder\.out_proj", "memory_encoder.projection"),
    (r"out_proj", "o_proj"),
    (r"^sam_", ""),
    (r"mask_downscaling\.0", "mask_embed.conv1"),
    (r"mask_downscaling\.1", "mask_embed.layer_norm1"),
    (r"mask_downscaling\.3", "mask_embed.conv2"),
    (r"mask_downscaling\.4", "mask_embed.layer_norm2"),
    (r"mask_downscaling\.6", "mask_embed.conv3"),
    (r"pe_layer\.positional_encoding_gaussian_matrix", "shared_embedding.positional_embedding"),
    (r"output_upscaling\.0", "upscale_conv1"),
    (r"output_upscaling\.1", "upscale_layer_norm"),
    (r"output_upscaling\.3", "upscale_conv2"),
    (r"mask_downsampler\.encoder\.12", "mask_downsampler.final_conv"),
    (r"pix_feat_proj", "feature_projection"),
    (r"\bfuser\b", "memory_fuser"),
    (r"\bdwconv", "depthwise_conv"),
    (r"\bpwconv", "pointwise_conv"),
    (r"\bgamma$", "scale"),
    (r"^maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    (r"^no_mem_embed", "no_memory_embedding"),
    (r"^no_mem_pos_enc", "no_memory_positional_encoding"),
    (r"^no_obj_ptr", "no_object_pointer"),
    (r"^no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    (r"^obj_ptr_tpos_proj", "temporal_positional_encoding_projection_layer"),
    (r"^obj_ptr_proj", "object_pointer_proj"),
)
"""Part of a name in the authors' code -> in `transformers`, one after the other."""

_MLP = re.compile(r"(.+)\.layers\.(\d+)\.(weight|bias)")
_DOWNSAMPLER = re.compile(r"(memory_encoder\.mask_downsampler)\.encoder\.(\d+)\.(weight|bias)")
_POINTS = re.compile(r"sam_prompt_encoder\.point_embeddings\.(\d+)\.weight")


def check_side(side: int) -> int:
    """Return the side of an input; raises BadInputError for one that the network cannot take."""
    if side % COARSEST or not COARSEST <= side <= 4 * SIDE:
        raise BadInputError(
            f"image_size is {side}: give a multiple of {COARSEST} up to {4 * SIDE}, such as 512"
        )
    return side


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a released file by their names in `transformers`."""
    last: dict[str, int] = {}  # layer of each multilayer perceptron
    for name in state:
        if match := _MLP.fullmatch(name):
            last[match[1]] = max(last.get(match[1], 0), int(match[2]))
    found, points = {}, {}
    for name, tensor in state.items():
        if match := _POINTS.fullmatch(name):
            points[int(match[1])] = tensor
            continue
        if match := _MLP.fullmatch(name):
            layer = int(match[2])
            inner = {0: "proj_in", last[match[1]]: "proj_out"}.get(layer, f"layers.{layer - 1}")
            name = f"{match[1]}.{inner}.{match[3]}"
        elif (match := _DOWNSAMPLER.fullmatch(name)) and match[2] != "12":
            layer, is_norm = divmod(int(match[2]), 3)
            part = "layer_norm" if is_norm else "conv"
            name = f"{match[1]}.layers.{layer}.{part}.{match[3]}"
        for pattern, new in _NAMES:
            name = re.sub(pattern, new, name)
        found[name] = tensor
    if points:  # of a background click, an object click and two corners of a box
        found["prompt_encoder.point_embed.weight"] = torch.cat([points[i] for i in sorted(points)])
    shared = "shared_embedding.positional_embedding"
    if (positions := found.get(f"prompt_encoder.{shared}")) is not None:
        found["shared_image_embedding.positional_embedding"] = positions
    return found


def description(state: dict[str, torch.Tensor], path: Path, side: int = SIDE) -> dict[str, Any]:
    """Return the arguments of `transformers.Sam2VideoConfig` that the tensors of a file call for.

    state: by the authors' names. side: of the input, in pixels. Raises BadInputError for another
    network, or another size.
    """
    first = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if first is None:
        raise BadInputError(
            f"{path} is a file, and holds no SAM 2: weights of SAM are read with the name "
            '"sam"; of HQ-SAM, SAM 3 and EdgeTAM give a folder as `save_pretrained` of '
            "transformers writes it"
        )
    blocks = {name.split(".")[3] for name in state if name.startswith("image_encoder.trunk.blocks")}
    seen = first.shape[0], len(blocks)
    size = next((s for s in SIZES.values() if (s.channels, sum(s.blocks)) == seen), None)
    if size is None:
        raise BadInputError(
            f"{path} is of no released size of SAM 2, which are {', '.join(SIZES)}: its image "
            f"encoder begins with {seen[0]} channels and has {seen[1]} blocks"
        )
    stages = range(len(size.blocks))
    channels = [size.channels * 2**i for i in stages]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "image_size": [side, side],
        "hidden_size": size.channels,
        "embed_dim_per_stage": channels,
        "num_attention_heads": size.heads,
        "num_attention_heads_per_stage": [size.heads * 2**i for i in stages],
        "blocks_per_stage": list(size.blocks),
        "global_attention_blocks": list(size.whole),
        "window_size_per_stage": list(size.windows),
        "window_positional_embedding_background_size": [size.background] * 2,
    }
    return {
        "vision_config": {
            "backbone_config": backbone,
            "backbone_channel_list": channels[::-1],
            "backbone_feature_sizes": [[side // step] * 2 for step in (4, 8, 16)],
        },
        "image_size": side,
        "prompt_encoder_config": {"image_size": side},
        "memory_attention_rope_feat_sizes": [side // 16] * 2,
        # SAM 2 of July 2024 has neither.
        "enable_occlusion_spatial_embedding": "no_obj_embed_spatial" in state,
        "enable_temporal_pos_encoding_for_object_pointers": "obj_ptr_tpos_proj.weight" in state,
    }


def read(path: Path, side: int = SIDE) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return description and tensors of a released file, as `transformers` takes them.

    side: of the input for which the weights were trained, in pixels. Raises
    BadInputError for a file of another network, and where a tensor is missing, of another shape,
    unknown, or no finite numbers.
    """
    import transformers

    state = load_state_dict(path)
    described = description(state, path, side)
    with torch.device("meta"):  # shapes alone: nothing is computed
        network = transformers.Sam2VideoModel(transformers.Sam2VideoConfig(**described))
    state = renamed(state)
    if fact := differences(shapes(state), shapes(network.state_dict())):
        raise BadInputError(
            f"{path} does not fit SAM 2 ({fact}): download it again, or save the model's "
            "`state_dict()` alone"
        )
    return described, check_tensors(state, network, path)
