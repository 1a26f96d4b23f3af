"""Weights in the format of `transformers`: a folder, or a repository that is fetched from the hub.

A folder holds `config.json`, `preprocessor_config.json` (or `processor_config.json`) and the
weights, `model.safetensors`, in one file or in several with their index.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import pooch

from ..cache import cache_folder
from ..case import BadInputError
from .checkpoints import Checkpoint

INSTALL = 'run pip install "medsam-utils[models]", which brings it'

_DESCRIPTIONS = ("config.json", "*processor_config.json")
_WEIGHTS = (
    ("model*.safetensors", "model.safetensors.index.json"),
    ("pytorch_model*.bin", "pytorch_model.bin.index.json"),  # only where there is no other
)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class HubCheckpoint(Checkpoint):
    """A model in the format of `transformers`.

    location: a folder, or the name of a repository of huggingface.co, "owner/name". revision: a
    branch, tag or commit of the repository; what it has become is kept in the rows' fingerprint.
    """

    revision: str = "main"

    @classmethod
    def given(cls, text: str) -> HubCheckpoint:
        """Return what a user names: a folder, "owner/name" or "owner/name@revision".

        >>> HubCheckpoint.given("facebook/sam2.1-hiera-tiny@v1").revision
        'v1'
        """
        folder = Path(text).expanduser()
        if folder.exists() or not _REPOSITORY.fullmatch(text):
            return cls(folder)
        repository, _, revision = text.partition("@")
        return cls(repository, revision=revision or "main")

    @property
    def name(self) -> str:
        """Return the last part of the location, which stands for it in rows."""
        return Path(self.location).name

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the files that decide a prediction, by their names; fetches them."""
        lines = [f"{pooch.file_hash(str(file))}  {file.name}" for file in self.files()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def commit(self) -> str:
        """Return the commit of the repository that was fetched; empty for a folder."""
        path = self.path()
        return "" if path in (self.location, self._own_folder) else path.name

    def files(self) -> list[Path]:
        """Return the files of the folder that are read, sorted by name."""
        return _files(self.path())

    def path(self) -> Path:
        """Folder of the files; a repository is fetched on first use, into the hub's own cache.

        It is not fetched where its files lie in `models/owner/name` of the package's cache folder.
        Raises BadInputError if it is no such folder, or cannot be fetched.
        """
        if isinstance(self.location, Path):
            return _checked(self.location)
        return _checked(self._own_folder) if self._own_folder.is_dir() else self._fetched

    @property
    def _own_folder(self) -> Path:
        """Where a person puts the files of a repository that cannot be fetched."""
        return cache_folder() / "models" / self.location

    @functools.cached_property
    def _fetched(self) -> Path:
        """The folder of the hub's cache; asked for once by each process."""
        try:
            from huggingface_hub import snapshot_download
            from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
        except ImportError as error:
            raise BadInputError(
                f"{self.location} needs the package huggingface_hub: {INSTALL}"
            ) from error
        folder = Path()
        try:
            for weights in _WEIGHTS:
                folder = Path(
                    snapshot_download(
                        str(self.location),
                        revision=self.revision,
                        allow_patterns=[*_DESCRIPTIONS, *weights],
                        max_workers=1,  # the weights are one file; threads share one connection
                    )
                )
                if any(folder.glob(weights[0])):
                    break
        except GatedRepoError as error:
            raise BadInputError(
                f"{self.location} is given only to who has agreed to its terms: agree at "
                f"huggingface.co/{self.location}, then log in once with `hf auth login`; or "
                f"{self._by_hand}"
            ) from error
        except RepositoryNotFoundError as error:
            raise BadInputError(
                f"{self.location} is no repository of huggingface.co that can be read without "
                f"logging in: correct the name, log in with `hf auth login`, or {self._by_hand}"
            ) from error
        except Exception as error:  # of whichever library it uses to connect
            fact = next(iter(str(error).strip().splitlines()), repr(error))
            raise BadInputError(
                f"{self.location} could not be fetched ({fact}): try again with a network, or "
                f"{self._by_hand}"
            ) from error
        return _checked(folder)

    @property
    def _by_hand(self) -> str:
        """What to do where nothing can be fetched."""
        return (
            "put its files config.json, preprocessor_config.json (or processor_config.json) and "
            f"model.safetensors into {self._own_folder}, or into another folder and give that as "
            'checkpoint="/data/folder"'
        )


def _files(folder: Path) -> list[Path]:
    """Return the description and the weights in a folder, sorted by name."""
    weights = next((found for w in _WEIGHTS if (found := list(folder.glob(w[0])))), [])
    descriptions = [file for pattern in _DESCRIPTIONS for file in folder.glob(pattern)]
    return sorted({*descriptions, *weights})


def _checked(folder: Path) -> Path:
    """Return a folder that has what a model needs; raises BadInputError with what is missing."""
    if not folder.is_dir():
        fact = "is a file" if folder.exists() else "is missing"
        raise BadInputError(
            f"{folder} {fact}: give a folder with config.json, preprocessor_config.json and "
            'model.safetensors, or the name of a repository, "owner/name", as `checkpoint`'
        )
    if not (folder / "config.json").is_file():
        lacking = "config.json"
    elif not any(folder.glob("*processor_config.json")):
        lacking = "preprocessor_config.json or processor_config.json"
    elif not any(any(folder.glob(weights[0])) for weights in _WEIGHTS):
        lacking = "model.safetensors"
    else:
        return folder
    raise BadInputError(
        f"{folder} has no {lacking}: it needs what `save_pretrained` of the model and of its "
        "processor write"
    )
