"""The page "Try it on your image": what reads, encodes and answers in a browser, as files beside
the pages.

own_image.js starts the page, see own/start.js. Networks are files of their own, see in_page.py.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...case import BadInputError
from ...clicks import Protocol
from ...models import load_model
from ...packages import npm_files
from . import rule_of
from .in_page import (
    FILE,
    RUNTIME,
    SCRIPTS,
    packed,
    plain_scripts,
    without_map,
    write_by_content,
    write_decoder,
    write_encoder,
    write_runtime,
)
from .own_cases import CASES, stored_curves, write_cases

MODELS = ("sam_small", "mobile_sam")
"""SAMs that the page can run: the first one from the start, the others when they are asked for."""
RULES = {
    "first, then single, fed back": Protocol(
        mask_choice="first", later_mask_choice="single", feedback=True
    ),
    "most confident of three": Protocol(),
    "most confident, fed back": Protocol(feedback=True),
}
"""Which mask counts, as the page offers it; the first one from the start."""
NAME = "own_image.js"
READERS = {
    "pako/dist/pako_inflate.min.js": "pako",
    "utif/UTIF.js": "UTIF",
    "upng-js/UPNG.js": "UPNG",
    "daikon/release/current/daikon-min.js": "daikon",
}
"""What reads files, from npm, and the name under which it is known."""
GRAPHICS = [
    f"onnxruntime-web/dist/ort{name}"
    for name in (
        ".webgpu.min.js",
        "-wasm-simd-threaded.asyncify.mjs",
        "-wasm-simd-threaded.asyncify.wasm",
    )
]
"""The runtime that computes on a graphics card."""
_WORKER = (
    *("contours.js", "decoder.js", "own/slices.js", "own/read.js", "own/judge.js"),
    "own/worker.js",
)
_PAGE = (
    *("own/slices.js", "own/export.js", "own/window.js", "own/controls.js", "own/images.js"),
    "own/start.js",
)
_STYLE = ("explorer.css", "own/own.css")


def write_own_image(
    packages: Path,
    folder: Path,
    models: Sequence[str] = MODELS,
    cases: Mapping[str, str] = CASES,
    results: Path | None = None,
) -> list[Path]:
    """Write own_image.js and all that it loads into `folder`; return the paths.

    packages: folder of package.json and package-lock.json. cases: see `write_cases`. results: the
    folder of stored rows, whose means are shown beside a reader's own. A model whose weights, or a
    case whose dataset, cannot be had is left out. Raises BadInputError if npm or the first model
    cannot be had.
    """
    weights = {name: load_model(name, device="cpu").weights for name in models}
    curves = stored_curves(results, weights, RULES) if results else {}
    target, key = folder / NAME, f"// {_state(packages, f'{models} {cases} {curves}')}\n"
    if target.is_file():
        with target.open(encoding="utf-8") as file:
            is_same = file.readline() == key
        files = [target, folder / "runtime.js", *_named(target, folder)]
        if is_same and all(path.is_file() for path in files):
            return files
        target.unlink()  # of other versions: better none than one that does not fit the rest
    runtime, *readers = npm_files(packages, [RUNTIME[0], *READERS])
    write_runtime(packages, folder)
    networks = _write_networks(folder, models)
    scripts = [
        "self.medsamInPage = {};",
        without_map(runtime.read_bytes()),
        *(_reader(path, name) for path, name in zip(readers, READERS.values(), strict=True)),
        plain_scripts(*_WORKER),
    ]
    style = "\n".join((Path(__file__).parent / name).read_text("utf-8") for name in _STYLE)
    rules = {name: rule_of(protocol) for name, protocol in RULES.items()}
    said = {"style": style, "worker": "\n".join(scripts), "networks": networks, "rules": rules}
    said["graphics"] = _write_graphics(packages, folder)
    page = json.dumps({**said, "cases": write_cases(folder, cases), "curves": curves})
    text = f"(() => {{\nconst page = {page};\n{plain_scripts(*SCRIPTS, *_PAGE)}}})();\n"
    is_whole = len(networks) == len(models)
    temporary = folder / f"{NAME}.part"
    temporary.write_text((key if is_whole else "") + text, encoding="utf-8")
    os.replace(temporary, target)
    return [target, folder / "runtime.js", *_named(target, folder)]


def _state(packages: Path, options: str) -> str:
    """Return a hash of all that the files depend on: options, scripts, models, drawings, packages
    and torch."""
    here = Path(__file__).parent
    folders = (here, here.parents[1] / "models", here.parents[1] / "demo")
    sources = [path for folder in folders for path in folder.rglob("*.*")]
    digest = hashlib.sha256(f"{options} {importlib.metadata.version('torch')}".encode())
    for path in [packages / "package-lock.json", *sorted(sources)]:
        if path.suffix in (".js", ".css", ".py", ".json", ".csv", ".pt"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _named(target: Path, folder: Path) -> list[Path]:
    """Return the files of networks, of cases and for a graphics card that own_image.js names."""
    return [folder / name for name in FILE.findall(target.read_text(encoding="utf-8"))]


def _write_networks(folder: Path, models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Write encoder and decoder of each model; return what the page says of them."""
    networks: dict[str, dict[str, Any]] = {}
    for name in models:
        try:
            model = load_model(name, device="cpu")
            parts = {
                "encoder": write_encoder(model, folder),
                "decoder": write_decoder(model, folder),
            }
        except BadInputError as error:
            if name == models[0]:
                raise
            print(f"{name} is left out of the page for own images: {error}", flush=True)
            continue
        networks[name] = {**parts, "bytes": sum(part["bytes"] for part in parts.values())}
    return networks


def _write_graphics(packages: Path, folder: Path) -> dict[str, Any]:
    """Write the runtime for graphics cards as a file in `folder`: {"file": name, "bytes": size}."""
    script, *parts = (path.read_bytes() for path in npm_files(packages, GRAPHICS))
    module, binary = map(packed, parts)
    content = {"script": without_map(script), "module": module, "binary": binary}
    name = write_by_content(folder, content)
    return {"file": name, "bytes": (folder / name).stat().st_size}


def _reader(path: Path, name: str) -> str:
    """A package's script as it runs in a worker: as a module, and nothing there is Node.js."""
    text = without_map(path.read_bytes())
    return (
        "((module) => (function (window, exports, require, process) {\n"
        f"{text}\nself.{name} = module.exports;\n"
        "})(self, module.exports, (name) => self[name]))({ exports: {} });"
    )
