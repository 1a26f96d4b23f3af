"""Where a network computes, and in which number format."""

from __future__ import annotations

import torch

from ..case import BadInputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def available_devices() -> list[str]:
    """Devices of this machine, the fastest first: CUDA's by number, Apple's MPS, the CPU."""
    graphics = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*graphics, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose_device(requested: str | None = None) -> torch.device:
    """Return the device of a name such as "cpu", "cuda:1" or "mps", without one the best there is.

    Raises BadInputError if this machine does not have it.
    """
    available = available_devices()
    if not requested:
        return torch.device(available[0].split(":")[0])
    if requested not in {*available, *(name.split(":")[0] for name in available)}:
        raise BadInputError(
            f"device {requested!r} is not on this machine: choose {' or '.join(available)}, or "
            "leave it empty"
        )
    return torch.device(requested)


def has_fast_bfloat16() -> bool:
    """Return whether this processor multiplies matrices of bfloat16 by itself, as Intel's AMX does.

    Elsewhere the number format saves memory and no time.
    """
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())


def choose_dtype(name: str) -> torch.dtype:
    """Number format by its name.

    Raises BadInputError for a name that is not in DTYPES.
    """
    if name not in DTYPES:
        raise BadInputError(f"dtype {name!r} is unknown: choose {', '.join(DTYPES)}")
    return DTYPES[name]
