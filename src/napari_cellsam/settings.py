"""The folders in which napari-cellsam keeps things between runs.

Each can be moved by an environment variable: ``NAPARI_CELLSAM_CACHE_DIR`` (downloaded weights, embeddings),
``NAPARI_CELLSAM_CONFIG_DIR`` (accepted licences), ``NAPARI_CELLSAM_MODELS_DIR`` (models that the user added),
``NAPARI_CELLSAM_JOURNALS_DIR`` (journals of what was done to images beside which nothing can be written),
``NAPARI_CELLSAM_TRAINING_DIR`` (learning curves, and checkpoints of trainings that were broken off).
None is made before something is written into it.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_dir", "config_dir", "journals_dir", "models_dir", "training_dir"]

_APPLICATION = "napari-cellsam"


def cache_dir() -> Path:
    """Return the folder for what can be fetched or computed again."""
    from platformdirs import user_cache_path

    return _moved("CACHE") or user_cache_path(_APPLICATION, appauthor=False)


def config_dir() -> Path:
    """Return the folder for the user's choices."""
    from platformdirs import user_config_path

    return _moved("CONFIG") or user_config_path(_APPLICATION, appauthor=False)


def models_dir() -> Path:
    """Return the folder for the models that the user added."""
    from platformdirs import user_data_path

    return _moved("MODELS") or user_data_path(_APPLICATION, appauthor=False) / "models"


def journals_dir() -> Path:
    """Return the folder for journals of images beside which nothing can be written."""
    from platformdirs import user_data_path

    return _moved("JOURNALS") or user_data_path(_APPLICATION, appauthor=False) / "journals"


def training_dir() -> Path:
    """Return the folder for learning curves, and for checkpoints of trainings that were broken off."""
    from platformdirs import user_data_path

    return _moved("TRAINING") or user_data_path(_APPLICATION, appauthor=False) / "training"


def _moved(name: str) -> Path | None:
    """Return the folder that the environment names, or None."""
    value = os.environ.get(f"NAPARI_CELLSAM_{name}_DIR", "").strip()
    return Path(value).expanduser().absolute() if value else None
