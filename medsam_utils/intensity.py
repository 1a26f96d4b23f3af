"""From raw pixel values to the 8-bit RGB image that a model receives.

Each rule is a small value that a dataset entry holds: callable, picklable, and its fields say
everything that it does, so that it can stand in the record of a run. All of them take one image
(H x W or H x W x 3, any real dtype, finite) and return uint8 H x W x 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EightBit:
    """Keep 8-bit values; stretch any other dtype from the image's minimum to its maximum.

    >>> EightBit()(np.array([[0, 7, 200]], np.uint8))[0, :, 0].tolist()
    [0, 7, 200]
    >>> EightBit()(np.array([[1000, 1500, 2000]], np.uint16))[0, :, 0].tolist()
    [0, 128, 255]
    """

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Apply the rule to one image."""
        if values.dtype == np.uint8:
            return _rgb(values)
        return _stretch(values, values.min(), values.max())


@dataclass(frozen=True)
class MaxScaling:
    """Divide by the image's maximum, times 255, decimals cut off, as the study's released code.

    The code sees PNG files only, so no value below 0; here an image with negative values is first
    lifted to begin at 0, else a CT's air would wrap round to white.

    >>> MaxScaling()(np.array([[0, 50, 100]], np.uint8))[0, :, 0].tolist()
    [0, 127, 255]
    """

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Apply the rule to one image."""
        values = values.astype(np.float64) - min(float(values.min()), 0.0)
        peak = values.max()
        return _rgb((values / peak * 255).astype(np.uint8) if peak else values.astype(np.uint8))


@dataclass(frozen=True)
class Percentile:
    """Stretch between two percentiles of the non-zero pixels: for MR, whose units are arbitrary.

    low, high: percentiles, 0..100. Zero is left out because it is the empty background, which may
    be most of the image. An image with no contrast between the two comes out black.

    >>> Percentile(0, 100)(np.array([[0, 0, 100, 200, 300]]))[0, :, 0].tolist()
    [0, 0, 0, 128, 255]
    """

    low: float = 0.5
    high: float = 99.5

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Apply the rule to one image."""
        signal = values[values != 0]
        if not signal.size:
            return _rgb(np.zeros(values.shape, np.uint8))
        return _stretch(values, *np.percentile(signal, [self.low, self.high]))


@dataclass(frozen=True)
class Window:
    """Show centre - width/2 as black and centre + width/2 as white: for CT, in Hounsfield units.

    >>> Window(40, 400)(np.array([[-1000, -160, 40, 240, 1000]]))[0, :, 0].tolist()
    [0, 0, 128, 255, 255]
    """

    centre: float
    width: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Apply the rule to one image."""
        return _stretch(values, self.centre - self.width / 2, self.centre + self.width / 2)


def _stretch(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map black..white linearly to 0..255, rounded, and clip what lies outside."""
    if not white > black:
        return _rgb(np.zeros(values.shape, np.uint8))
    scaled = (values.astype(np.float64) - float(black)) / (float(white) - float(black))
    return _rgb(np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8))


def _rgb(values: np.ndarray) -> np.ndarray:
    """Repeat a grey image in three channels; leave a colour image as it is."""
    return np.repeat(values[..., np.newaxis], 3, axis=2) if values.ndim == 2 else values
