"""One hash of what decides a case's rows: settings, content of data files, weights, code."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import itertools
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .case import BadInputError, CaseReference
from .clicks import Protocol
from .contents import content_hashes
from .datasets import Dataset
from .models import Model


def run_settings(
    dataset: Dataset, model: Model, protocol: Protocol, clicks: int, metrics: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything but the data files that decides the rows."""
    further = {"metrics": list(metrics)} if metrics else {}
    return further | {
        "dataset": {"name": dataset.name, "level": dataset.level, **dataset.settings()},
        "model": {"name": model.name, "weights": model.weights, **model.settings()},
        "protocol": asdict(protocol),
        "clicks": clicks,
        "code": code_version(model_files(type(model)), own_code(type(model))),
    }


def check_storable(model: Model) -> None:
    """Raise BadInputError if nothing tells which rows of a model of one's own belong together."""
    owner = type(model)
    if not _is_ours(owner) and owner.settings is Model.settings:
        raise BadInputError(
            f"{owner.__name__} does not say what decides its rows, so they cannot be stored: "
            "define `settings(self)`, which returns its parameters as a dictionary of plain "
            "values ({} if it has none), or leave out `store`"
        )
    if own_code(owner) is None:
        raise BadInputError(
            f"the source of {owner.__name__} cannot be read, so a change of it would go unnoticed: "
            "write the class in a notebook or a file, or leave out `store`"
        )


def own_code(model: type) -> str | None:
    """Return the source of a model's classes that are not part of this package.

    That is the whole file of a class that was imported, and the class alone where it was written in
    a notebook; None where neither can be read.
    """
    texts = []
    for owner in model.__mro__[:-1]:
        if _is_ours(owner):
            continue
        module = sys.modules.get(owner.__module__)
        try:
            if getattr(module, "__file__", None):
                texts.append(Path(inspect.getfile(owner)).read_text(encoding="utf-8"))
            else:
                functions = [value for value in vars(owner).values() if inspect.isfunction(value)]
                texts += [textwrap.dedent(inspect.getsource(function)) for function in functions]
        except (OSError, TypeError):
            return None
    return "\n".join(texts)


def _is_ours(owner: type) -> bool:
    return owner.__module__.split(".")[0] == __package__


def case_fingerprints(
    settings: dict[str, Any], dataset: Dataset, references: Sequence[CaseReference]
) -> dict[CaseReference, str]:
    """Return the hash of what decides each case's rows: the settings, its ids, and its files.

    Of a file counts its content and its path below the dataset's folder, which is all that a reader
    sees of it. So rows are found again wherever that folder lies, and never for other files.
    """
    files = {reference: tuple(dataset.files(reference)) for reference in references}
    paths = dict.fromkeys(itertools.chain(*set(files.values())))
    hashes = content_hashes(paths, dataset.root or Path())
    common = json.dumps(settings, sort_keys=True, default=str)

    @functools.cache  # the slices of a volume share their files, which may be hundreds
    def contents(files: tuple[Path, ...]) -> str:
        return json.dumps([(dataset.relative(str(path)), hashes[path]) for path in files])

    fingerprints = {}
    for reference in references:
        ids = reference.case_id, reference.patient_id, reference.slice_index
        key = json.dumps([common, ids, len(reference.images), contents(files[reference])])
        fingerprints[reference] = hashlib.sha256(key.encode()).hexdigest()[:32]
    return fingerprints


def model_files(model: type) -> list[Path]:
    """Return the source files of a model's class and of all modules of `models` behind it.

    None for a class that is not part of this package, see `own_code`.
    """
    prefix = f"{__package__}.models."
    found, waiting = {prefix + "checkpoints", prefix + "devices"}, {model.__module__}
    irrelevant = set(found)
    if not _is_ours(model):
        return []
    while waiting:
        name = waiting.pop()
        found.add(name)
        origins = {
            getattr(value, "__module__", None) or "" for value in vars(sys.modules[name]).values()
        }
        waiting |= {origin for origin in origins if origin.startswith(prefix)} - found
    return [Path(inspect.getfile(sys.modules[name])) for name in sorted(found - irrelevant)]


def code_version(model_files: Sequence[Path], own: str | None = "") -> str:
    """Hash of what the code behind a row does: its source without comments and docstrings.

    own: the source of a model that is not part of this package, see `own_code`.

    Whoever improves a comment keeps the stored rows; whoever changes a rule does not.
    """
    package = Path(__file__).parent
    names = "case boxed_mask intensity distance clicks prompts metrics simulation pipeline evaluate"
    files = [package / f"{name}.py" for name in names.split()]
    files += [*sorted(package.glob("datasets/*.py"))]
    digest = hashlib.sha256()
    for path in [*files, *model_files]:
        digest.update(_behaviour(path, path.stat().st_mtime_ns).encode())
    if own:
        digest.update(_without_comments(own).encode())
    return digest.hexdigest()[:16]


@functools.cache  # parsing takes 0.7 s for all of them, and a page asks for each of its runs
def _behaviour(path: Path, changed: int) -> str:
    """Return the source of a file, as it is since the time `changed`, without what does nothing."""
    return _without_comments(path.read_text())


def _without_comments(source: str) -> str:
    """Return a source without comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            node.value.value = ""
    return ast.unparse(tree)
