"""MedSAM's own preprocessing: an image squashed to a square, its range stretched to 0..1.

Source: the inference script that Ma et al. (Nature Communications 15 (2024) 654) released; it
resizes with scikit-image, whose steps are SciPy's.
"""

import numpy as np
from scipy import ndimage


def squashed(image: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 H x W x 3 as float32 side x side x 3 in 0..1, cubic, smoothed where it shrinks.

    An image of one value becomes 0.
    """
    factors = np.array([*np.divide(image.shape[:2], side), 1.0])
    pixels = image.astype(np.float64)
    smooth = np.maximum(0, (factors - 1) / 2)
    pixels = ndimage.gaussian_filter(pixels, smooth, mode="mirror")
    pixels = ndimage.zoom(pixels, 1 / factors, order=3, mode="mirror", grid_mode=True)
    whole = pixels.clip(image.min(), image.max()).astype(np.uint8).astype(np.float32)
    return (whole - whole.min()) / max(np.ptp(whole), 1e-8)
