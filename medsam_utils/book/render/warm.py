"""What nearly every page imports: done once, in the process from which kernels are forked."""

import importlib
import pkgutil

from ... import datasets, models
from .. import explorer, pages

for package in (pages, explorer, models, datasets):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
