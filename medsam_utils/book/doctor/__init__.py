"""What is odd about a dataset or a folder of yours, before anything is computed on it."""

from .examine import examine

__all__ = ["examine"]
