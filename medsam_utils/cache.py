"""Where downloads and phantoms are kept."""

import os
from pathlib import Path

import pooch


def cache_folder() -> Path:
    """Return the folder of downloads and phantoms.

    MEDSAM_CACHE, else the system's cache folder for users.
    """
    return (
        Path(os.environ.get("MEDSAM_CACHE") or pooch.os_cache("medsam_utils"))
        .expanduser()
        .resolve()
    )
