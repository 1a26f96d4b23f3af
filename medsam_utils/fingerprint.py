"""One hash of what decides a case's rows: settings, data files, weights, code."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .case import CaseReference
from .clicks import Protocol
from .datasets import Dataset
from .models import Model


def run_settings(dataset: Dataset, model: Model, protocol: Protocol, clicks: int) -> dict[str, Any]:
    """Everything but the data files that decides the rows."""
    return {
        "dataset": {"name": dataset.name, "level": dataset.level, **dataset.settings()},
        "model": {"name": model.name, "weights": model.weights, **model.settings()},
        "protocol": asdict(protocol),
        "clicks": clicks,
        "code": code_version(model_files(type(model))),
    }


def case_fingerprints(
    settings: dict[str, Any], dataset: Dataset, references: Sequence[CaseReference]
) -> dict[CaseReference, str]:
    """Hash of the settings and of the files of each case (name, size, time of change)."""
    common = json.dumps(settings, sort_keys=True, default=str)

    @functools.cache  # the slices of a volume share their files, which may be hundreds
    def state(files: tuple[Path, ...]) -> str:
        stats = [(path.name, path.stat()) for path in files]
        return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])

    keys = {r: json.dumps([common, r.case_id, state(tuple(dataset.files(r)))]) for r in references}
    return {
        reference: hashlib.sha256(key.encode()).hexdigest()[:32] for reference, key in keys.items()
    }


def model_files(model: type) -> list[Path]:
    """Return the source files of a model's class and of all modules of `models` behind it."""
    prefix = f"{__package__}.models."
    found, waiting = {prefix + "checkpoints", prefix + "devices"}, {model.__module__}
    irrelevant = set(found)
    while waiting:
        name = waiting.pop()
        found.add(name)
        origins = {
            getattr(value, "__module__", None) or "" for value in vars(sys.modules[name]).values()
        }
        waiting |= {origin for origin in origins if origin.startswith(prefix)} - found
    return [Path(inspect.getfile(sys.modules[name])) for name in sorted(found - irrelevant)]


def code_version(model_files: Sequence[Path]) -> str:
    """Hash of what the code behind a row does: its source without comments and docstrings.

    Whoever improves a comment keeps the stored rows; whoever changes a rule does not.
    """
    package = Path(__file__).parent
    names = "case boxed_mask intensity distance clicks prompts metrics simulation pipeline evaluate"
    files = [package / f"{name}.py" for name in names.split()]
    files += [*sorted(package.glob("datasets/*.py"))]
    digest = hashlib.sha256()
    for path in [*files, *model_files]:
        digest.update(_behaviour(path, path.stat().st_mtime_ns).encode())
    return digest.hexdigest()[:16]


@functools.cache  # parsing takes 0.7 s for all of them, and a page asks for each of its runs
def _behaviour(path: Path, changed: int) -> str:
    """Return the source of a file, as it is since the time `changed`, without what does nothing."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            node.value.value = ""
    return ast.unparse(tree)
