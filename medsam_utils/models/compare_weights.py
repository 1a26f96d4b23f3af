"""Are weights of one's own those of a registered SAM? Largest difference of each part.

    python -m medsam_utils.models.compare_weights mobile_sam /data/mobile_sam.pt

Ends with status 0 if they are equal, 1 if not, 2 if they cannot be compared.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from ..case import BadInputError
from . import load_model
from .sam import Sam

FEATURES = "features of an image"
ROUNDING = 1e-4  # of the greatest feature: folding batch norms rounds, and so does an exporter


def weight_differences(one: Sam, other: Sam) -> dict[str, float]:
    """Return the largest difference of each part of two SAMs of one architecture.

    Of the prompt encoder and the mask decoder, between their tensors. Of the image encoder, between
    its features of a drawn image, as a share of the greatest feature. Raises BadInputError for two
    architectures.
    """
    if one.architecture != other.architecture:
        raise BadInputError(
            f"{one.name} is SAM {one.architecture} and {other.name} SAM {other.architecture}: "
            "compare weights of one architecture"
        )
    states = [model.network.state_dict() for model in (one, other)]
    tensor_differences = {
        name: (tensor - states[1][name]).abs().max().item() for name, tensor in states[0].items()
    }
    found = {
        part: max(
            value for name, value in tensor_differences.items() if name.startswith(f"{part}.")
        )
        for part in ("prompt_encoder", "mask_decoder")
    }
    features = [model.encode(drawn_image()).features for model in (one, other)]
    greatest = features[0].abs().max()
    found[FEATURES] = ((features[0] - features[1]).abs().max() / greatest).item()
    return found


def are_equal(found: dict[str, float]) -> bool:
    """Return whether weights are the same: tensors exactly, features but for rounding."""
    return all(value <= (ROUNDING if part == FEATURES else 0) for part, value in found.items())


def drawn_image() -> np.ndarray:
    """Return a disc and a bar on waves, uint8 480 x 640 x 3, always the same."""
    row, col = np.mgrid[:480, :640]
    image = 110 + 40 * np.sin(row / 17) * np.cos(col / 29)
    image[(row - 200) ** 2 + (col - 250) ** 2 < 90**2] += 70
    image[(row > 330) & (row < 380) & (col > 300)] -= 60
    return np.repeat(image.astype(np.uint8)[..., None], 3, axis=2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m medsam_utils.models.compare_weights",
        description="Say whether a weights file has the weights of a registered SAM.",
    )
    parser.add_argument("name", help="of the registry, such as mobile_sam")
    parser.add_argument("checkpoint", help="weights file, or folder with two ONNX files")
    options = parser.parse_args(arguments)
    try:
        models = [
            load_model(options.name, checkpoint=path, device="cpu", exact=True)
            for path in (None, options.checkpoint)
        ]
        first, second = models
        if not (isinstance(first, Sam) and isinstance(second, Sam)):
            raise BadInputError(f"{options.name} is no SAM: name one, such as mobile_sam")
        found = weight_differences(first, second)
    except BadInputError as error:
        print(error, file=sys.stderr)
        return 2
    for part, value in found.items():
        print(f"{part}: largest difference {value:.2g}")
    equal = are_equal(found)
    print(
        f"{options.checkpoint} has {'the' if equal else 'other'} weights"
        f"{'' if equal else ' than those'} of {options.name}"
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
