"""Any image encoder in ONNX as a module that segment-anything's parts can be put round."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from ..case import BadInputError
from .mobile_sam import CELLS, CHANNELS, IMAGE_SIZE, build_sam

if TYPE_CHECKING:
    import onnxruntime

_SHAPES = ((3, IMAGE_SIZE, IMAGE_SIZE), (CHANNELS, CELLS, CELLS))


class OnnxEncoder(nn.Module):
    """Image encoder that onnxruntime computes, with as many threads as torch has.

    It has no tensors of its own, so it is not trained.

    path: set before the first use; it alone is pickled and copied.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.img_size, self.path = IMAGE_SIZE, path  # read by SamPredictor and Sam.preprocess
        self._session: onnxruntime.InferenceSession | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_session": None}

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 B x 3 x 1024 x 1024 to B x 256 x 64 x 64.

        Raises BadInputError for another number format, and for a file that maps to other shapes.
        """
        if x.dtype != torch.float32:
            raise BadInputError(f"{self.path} computes in float32: leave `dtype` as it is")
        if self._session is None:
            assert self.path  # set before the first use
            self._session = _session(self.path, on_gpu=x.is_cuda)
        asked = self._session.get_inputs()[0]
        at_a_time = asked.shape[0] if isinstance(asked.shape[0], int) else len(x)
        features = [
            torch.from_numpy(self._session.run(None, {asked.name: part.cpu().numpy()})[0])
            for part in x.split(at_a_time)
        ]
        return torch.cat(features).to(x.device)


def _session(path: Path, on_gpu: bool) -> onnxruntime.InferenceSession:
    """Open a file; where it has to compute on a GPU, the CPU does it if onnxruntime cannot."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BadInputError(
            "onnxruntime is missing, which computes an image encoder in ONNX: "
            'run pip install "medsam-utils[models]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Threads that wait for work must not keep those of the decoder, which torch computes, from it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ["CUDAExecutionProvider"] * on_gpu + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise BadInputError(
            f"{path} cannot be read as ONNX ({error}): export or download it again"
        ) from error
    shapes = [session.get_inputs()[0].shape[1:], session.get_outputs()[0].shape[1:]]
    for shape, needed in zip(shapes, _SHAPES, strict=True):
        named = [size if isinstance(size, int) else None for size in shape]  # or may vary
        if named not in (list(needed), [*needed[:1], None, None], [None] * 3):
            raise BadInputError(
                f"{path} maps images of {shapes[0]} to {shapes[1]}: an image encoder of SAM maps "
                "B x 3 x 1024 x 1024 to B x 256 x 64 x 64, give such a file"
            )
    return session


def build_onnx_sam() -> Sam:
    """SAM's own prompt encoder and mask decoder, and an image encoder in ONNX to be named."""
    return build_sam(OnnxEncoder())
