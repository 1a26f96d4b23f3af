"""The core imports neither the book nor the demo."""

import ast
from pathlib import Path

import pytest

import medsam_utils

PACKAGE = Path(medsam_utils.__file__).parent
OUTER = ("book", "demo", "workflows")


def _imported(path: Path) -> set[str]:
    """Modules that a file imports, written from the package's root, such as "datasets.masks"."""
    folder = path.relative_to(PACKAGE).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = folder[: len(folder) - node.level + 1]
            module = ".".join([*start, *filter(None, [node.module])])
            found |= {module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)}
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("medsam_utils."):
            found.add(node.module.removeprefix("medsam_utils."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("medsam_utils.") for alias in node.names}
    return found


def _ring(module: str) -> str:
    return next((ring for ring in OUTER if module.split(".")[0] == ring), "core")


@pytest.mark.parametrize(
    ("ring", "may_import"),
    [
        ("core", {"core"}),
        ("workflows", {"core", "workflows"}),
        ("demo", {"core", "workflows", "demo"}),
        ("book", {"core", "workflows", "demo", "book"}),
    ],
)
def test_imports_point_inwards(ring, may_import):
    """`medsam_utils/__init__.py` alone, the front door, stands outside of the rings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        if name != "__init__" and _ring(name) == ring:
            wrong = {module for module in _imported(path) if _ring(module) not in may_import}
            assert not wrong, f"{name} imports {sorted(wrong)}"
