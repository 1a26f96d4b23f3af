"""A network in a page: decoder, embeddings and ONNX Runtime Web as files that a browser loads on
demand.

Every file is a plain script that registers its content, because a page opened from a file (file://)
may load nothing else; content that is not text is compressed with gzip and written as base64. See
decoder.js.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.metadata
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...packages import npm_files
from .run_lengths import run_lengths

if TYPE_CHECKING:  # imported where a decoder is written: only then are torch and torchvision needed
    from ...models import Model
    from ...models.sam import Sam, SamEmbedding

SCRIPTS = (
    *("controls.js", "contours.js", "state.js", "zoom.js", "box.js", "cross.js", "drawing.js"),
    "explorer.js",
)
"""The explorer's scripts, in the order in which they stand in one module or function."""
FILE = re.compile(r'"([0-9a-f]{16}\.js)"')  # how a page names one
RUNTIME = [
    f"onnxruntime-web/dist/ort{name}"
    for name in (".wasm.min.js", "-wasm-simd-threaded.mjs", "-wasm-simd-threaded.wasm")
]


def write_files(
    folder: Path, models: Mapping[str, Model], stored: Sequence[dict], level: str
) -> dict[str, Any]:
    """Files with which a page answers clicks as the SAMs of `models` do; returns what the page says
    of them.

    stored: a page's cases with task, truth and ignored (bool H x W) and embeddings by model; the
    names of their files are added as `embedded`. level: of the dataset.
    """
    from ...models.sam import Sam

    sams = {name: model for name, model in models.items() if isinstance(model, Sam)}
    truths: dict[int, dict[str, str]] = {}  # of all tasks of one picture, which share its file
    for one in stored:
        for name in sams:
            truths.setdefault(id(one["embeddings"][name]), {})[one["task"]] = run_lengths(
                one["truth"]
            )
    for one in stored:
        of_sams = {name: one["embeddings"][name] for name in sams}
        one["embedded"] = {
            name: write_picture(
                sams[name], embedding, truths[id(embedding)], folder, one.get("ignored")
            )
            for name, embedding in of_sams.items()
        }
    if not sams:
        return {}
    return {
        "decoders": {name: write_decoder(model, folder) for name, model in sams.items()},
        "offer": f"{' and '.join(sams)} ({'demo' if level == 'demo' else 'on your data'})",
    }


def write_decoder(model: Sam, folder: Path) -> dict[str, Any]:
    """Decoder of a model as a file in `folder`, exported once: {"file": name, "bytes": size}."""
    sources = ("sam_onnx.py", "sam_small.py", "fast/decoder.py", "fast/folded_attention.py")
    name = _name(model, "", *sources)
    if not (folder / name).is_file():
        from ...models import sam_onnx

        networks = sam_onnx.export(model.network)
        write_script(folder, name, {part: packed(onnx) for part, onnx in networks.items()})
    return {"file": name, "bytes": (folder / name).stat().st_size}


def write_encoder(model: Sam, folder: Path) -> dict[str, Any]:
    """Image encoder of a model as a file in `folder`, exported once: {"file": name, "bytes":
    size}."""
    sources = ("sam_onnx.py", "fast/encoder.py", "sam_small.py", "mobile_sam.py")
    name = _name(model, " encoder", *sources)
    if not (folder / name).is_file():
        from ...models import sam_onnx

        network = model.network
        pixels = {
            "side": network.image_encoder.img_size,
            "mean": network.pixel_mean.flatten().tolist(),
            "std": network.pixel_std.flatten().tolist(),
        }
        write_script(folder, name, {"network": packed(sam_onnx.export_encoder(network)), **pixels})
    return {"file": name, "bytes": (folder / name).stat().st_size}


def _name(model: Sam, part: str, *sources: str) -> str:
    """Name of a file by all that decides its content. sources: below the folder `models`."""
    models = Path(__file__).parents[2] / "models"
    decides = f"{model.architecture} {model.weights} {importlib.metadata.version('torch')}{part}"
    key = decides.encode() + b"".join((models / source).read_bytes() for source in sources)
    return hashlib.sha256(key).hexdigest()[:16] + ".js"


def write_picture(
    model: Sam,
    embedding: SamEmbedding,
    truths: Mapping[str, str],
    folder: Path,
    ignored: np.ndarray | None = None,
) -> str:
    """What the decoder needs of one picture as a file in `folder`; returns its name.

    truths: of each task, the true mask on the image's grid as COCO's compressed run lengths.
    ignored: bool, H x W, pixels that count in no score.
    """
    features = embedding.features.cpu().half().numpy()
    content = {
        "features": packed(features.tobytes()),
        "shape": features.shape,
        "low": [4 * n for n in features.shape[2:]],  # of the decoder's logits
        "padded": model.network.image_encoder.img_size,
        "seen": embedding.resized,
        "truths": truths,
        "ignored": run_lengths(ignored) if ignored is not None else "",
    }
    return write_by_content(folder, content)


def write_runtime(packages: Path, folder: Path) -> int:
    """ONNX Runtime Web and decoder.js as runtime.js in `folder`; returns its size in bytes.

    packages: folder of package.json and package-lock.json. Raises BadInputError if npm cannot be
    had.
    """
    target, root = folder / "runtime.js", Path(__file__).parent
    parts = [
        packages / "package-lock.json",
        *(root / name for name in ("contours.js", "decoder.js", "in_page.py")),
    ]
    key = f"// {hashlib.sha256(b''.join(path.read_bytes() for path in parts)).hexdigest()}\n"
    if target.is_file():
        with target.open(encoding="utf-8") as file:
            if file.readline() == key:
                return target.stat().st_size
        target.unlink()  # of other versions: better none than one that does not fit the pages
    script, module, binary = (path.read_bytes() for path in npm_files(packages, RUNTIME))
    said = {"module": packed(module), "binary": packed(binary)}
    ours = plain_scripts("contours.js", "decoder.js")
    text = without_map(script)
    text += f"\nwindow.medsamInPage.packed = {json.dumps(said)};\n(() => {{\n{ours}}})();\n"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_text(key + text, encoding="utf-8")
    os.replace(temporary, target)
    return target.stat().st_size


def plain_scripts(*names: str) -> str:
    """Scripts of this folder, one after the other, as parts of one function instead of modules."""
    texts = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in names]
    return re.sub(r"^export (default .*)?", "", "\n".join(texts), flags=re.MULTILINE)


def without_map(script: bytes) -> str:
    """Text of a package's script, without the address of a file that no page has."""
    return re.sub("^//# sourceMappingURL=.*", "", script.decode(), flags=re.MULTILINE)


def packed(content: bytes) -> str:
    """Bytes as text: compressed, in base64."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def write_by_content(folder: Path, content: Mapping[str, Any]) -> str:
    """Write a script that registers content, under a name that its content decides; return that."""
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16] + ".js"
    if not (folder / name).is_file():
        write_script(folder, name, content)
    return name


def write_script(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """A script that registers content under its own name; it appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=folder, suffix=".part", delete=False, encoding="utf-8"
    ) as file:
        file.write(f'(window.medsamInPage.files ??= {{}})["{name}"] = {json.dumps(content)};\n')
    os.chmod(file.name, 0o644)
    os.replace(file.name, folder / name)
