"""One list of requirements: pyproject, the lock and the conda environment say the same."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import medsam_utils

ROOT = Path(__file__).parent.parent


def requirements() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set().union(project["dependencies"], *project["optional-dependencies"].values())


def lock() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package; one that differs by Python counts once."""
    entries = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    pattern = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; [^#]*?)?((?: +--hash=sha256:[0-9a-f]{64})+) *")
    matches = [pattern.fullmatch(entry) for entry in entries]
    assert None not in matches
    return {match[1]: (match[2], match[3].split()) for match in matches}


def name(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ]", requirement)[0].lower()


def test_the_lock_pins_every_requirement_by_hash():
    assert {name(requirement) for requirement in requirements()} <= set(lock())


@pytest.mark.parametrize(
    "file",
    [
        "requirements.lock",
        "lint/package-lock.json",
        "book/npm/package-lock.json",
        "medsam_utils/models/npm/package-lock.json",
    ],
)
def test_a_lock_names_no_address(file):
    assert "://" not in (ROOT / file).read_text()


def test_conda_installs_what_the_lock_names():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["--requirement requirements.lock"]


def test_this_package_is_built_by_the_setuptools_of_the_lock():
    (build,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert build == f"setuptools=={lock()['setuptools'][0]}"


def test_the_set_up_installs_by_hash_alone_and_builds_nothing_of_others():
    text = (ROOT / "Makefile").read_text()
    rule = text[text.index("$(READY): ") :]
    installs = re.findall(r"pip install[^\n]*|\$\(PIP\)[^&|\n]*", rule)
    locked = [command for command in installs if "$(LOCKED)" in command]
    assert "LOCKED := --require-hashes --no-deps --only-binary :all:" in text
    assert [c for c in installs if c not in locked] == [
        "$(PIP) --no-deps --no-build-isolation --editable ."
    ]


def test_the_version_stands_in_pyproject_and_the_citation_says_the_same():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert medsam_utils.__version__ == stated
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == stated


@pytest.mark.parametrize("package", ["torch", "matplotlib", "sklearn", "IPython", "distributed"])
def test_importing_the_package_does_not_load(package):
    code = f"import sys, medsam_utils; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


ABSENT = """
import importlib.machinery
import sys

found = importlib.machinery.PathFinder.find_spec


def find_spec(name, path=None, target=None):
    return None if name.split(".")[0] in {packages!r} else found(name, path, target)


importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
"""


def without(packages: set[str], folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python as if these packages were not installed."""
    (folder / "absent.py").write_text(ABSENT.format(packages=packages))
    paths = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def only_in(extra: str) -> set[str]:
    """Modules that one extra brings, and no other one nor the core."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    others = [needed for key, needed in project["optional-dependencies"].items() if key != extra]
    rest = {name(one) for needed in (*others, project["dependencies"]) for one in needed}
    own = {name(one) for one in project["optional-dependencies"][extra]}
    return {one.replace("-", "_") for one in own - rest}


@pytest.mark.slow
def test_the_package_and_its_table_of_models_need_no_extra_models(tmp_path):
    code = "import absent, medsam_utils; from medsam_utils.book.pages import catalogue; "
    code += "catalogue.models_table(); medsam_utils.load_model('sam_small').load(); "
    code += "medsam_utils.load_model('sam2.1_tiny')"
    done = without(only_in("models"), tmp_path, "-c", code)
    last = done.stderr.strip().splitlines()[-1]
    assert 'sam2.1_tiny needs the package transformers: run pip install "medsam-utils[mod' in last


@pytest.mark.slow
def test_without_the_extra_models_its_tests_are_skipped_and_all_others_are_found(tmp_path):
    missing = only_in("models")
    assert missing == {"transformers", "huggingface_hub", "timm"}
    options = ["-p", "absent", "-p", "no:cacheprovider", "--collect-only", "-q", "-rs"]
    options += ["--ignore", "tests/browser"]  # which has a conftest of its own
    found = without(missing, tmp_path, "-m", "pytest", *options, "tests")
    assert found.returncode == 0, found.stdout[-2000:]
    pattern = r"^SKIPPED \[\d\] tests/(\w+)\.py:\d+: needs .*models"
    skipped = set(re.findall(pattern, found.stdout, re.MULTILINE))
    assert skipped == {"test_hub", "test_sam2_released", "test_transformers_sam"}


def test_the_tour_names_every_file_of_tests():
    folder = ROOT / "tests"
    named = set(
        re.findall(r"`((?:browser/|fuzz/)?test_\w+\.py)`", (folder / "README.md").read_text())
    )
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("test_*.py")}
