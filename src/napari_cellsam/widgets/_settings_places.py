"""The places where settings are kept: those that napari has for plugins, or a file of ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from napari_cellsam.settings import config_dir

__all__ = ["JsonFile", "NapariSettings", "Nested", "Place", "find_place"]

_logger = logging.getLogger(__name__)
_PLUGIN = "napari-cellsam"

Nested = dict[str, dict[str, Any]]
"""Values by category and name: text, numbers or truth values."""


class Place(Protocol):
    """Somewhere that settings are kept."""

    def read(self) -> Nested:
        """Return what is kept, as far as it differs from nothing having been chosen."""
        ...

    def write(self, nested: Nested) -> None:
        """Keep values; what is not among them counts as not chosen."""
        ...

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call a function whenever something else has changed what is kept."""
        ...

    def close(self) -> None:
        """Watch no more."""
        ...


class NapariSettings:
    """The settings that napari keeps for this plugin and shows in its preferences.

    Parameters
    ----------
    settings
        As ``napari.settings.get_plugin_settings`` returns them.
    """

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._on_change: Callable[[], None] | None = None

    def read(self) -> Nested:
        """Return what differs from the defaults in the manifest."""
        return {
            category: {name: value for name, value in group.items() if value != self._defaults(category)[name]}
            for category, group in self._settings.model_dump().items()
            if isinstance(group, dict)
        }

    def write(self, nested: Nested) -> None:
        """Set values, which napari saves; what is not among them goes back to its default."""
        for category in self.read():
            group, given = getattr(self._settings, category), nested.get(category, {})
            for name, default in self._defaults(category).items():
                value = given.get(name, default)
                if getattr(group, name) != value:
                    setattr(group, name, value)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call a function whenever the user has changed something in napari's preferences."""
        self._on_change = on_change
        for category in self._categories():
            getattr(self._settings, category).events.connect(self._changed)

    def close(self) -> None:
        """Watch no more."""
        if self._on_change is not None:
            self._on_change = None
            for category in self._categories():
                getattr(self._settings, category).events.disconnect(self._changed)

    def _changed(self, event: Any = None) -> None:  # noqa: ARG002 - napari's signature
        if self._on_change is not None:
            self._on_change()

    def _categories(self) -> list[str]:
        return [name for name, group in self._settings.model_dump().items() if isinstance(group, dict)]

    def _defaults(self, category: str) -> dict[str, Any]:
        declared = type(getattr(self._settings, category)).model_fields
        return {name: declaration.default for name, declaration in declared.items()}


class JsonFile:
    """A file of ours, for a napari that keeps no settings for plugins.

    Parameters
    ----------
    path
        Made, with its folder, when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Nested:
        """Return what is kept; nothing if the file is not there or is broken."""
        try:
            nested = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _logger.warning("%s cannot be read, so nothing counts as chosen: %s", self._path, error)
            return {}
        if not isinstance(nested, dict):
            _logger.warning("%s holds no settings, so nothing counts as chosen", self._path)
            return {}
        return {str(category): group for category, group in nested.items() if isinstance(group, dict)}

    def write(self, nested: Nested) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        from napari_cellsam.export.output import make_folder, whole_file

        make_folder(self._path.parent)
        with whole_file(self._path, overwrite=True) as temporary:
            temporary.write_text(json.dumps(nested, indent=1) + "\n", "utf-8")

    def watch(self, on_change: Callable[[], None]) -> None:
        """Do nothing: no dialog changes the file while napari runs."""

    def close(self) -> None:
        """Do nothing."""


def find_place() -> Place:
    """Return napari's settings of this plugin, or a file of ours where napari is too old or does not know it."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari < 0.9
        return JsonFile(config_dir() / "preferences.json")
    try:
        return NapariSettings(get_plugin_settings(_PLUGIN))
    except KeyError:  # disabled, or run from a script
        return JsonFile(config_dir() / "preferences.json")
