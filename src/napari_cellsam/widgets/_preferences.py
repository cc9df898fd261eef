"""The preferences: what a user has chosen once, for all images and viewers."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

from psygnal import Signal

from napari_cellsam.errors import OptionError
from napari_cellsam.service.home import Mode
from napari_cellsam.types import SegmentOptions
from napari_cellsam.widgets._settings_places import Nested, Place, find_place

__all__ = ["RULES", "PreferenceStore", "Preferences", "Rule"]

_logger = logging.getLogger(__name__)

Rule = Literal["fill", "replace", "new"]
"""What an automatic run does to cells that are there: keep all, or only those that a person touched, or their layer."""

RULES: tuple[Rule, ...] = get_args(Rule)
"""All rules."""

_WORDS = {"decode_at_home": get_args(Mode), "rule": RULES}
_OPTIONAL = ("box_score", "diameter", "min_area", "looks")  # options for which the model has a default
_DEFAULT = "default"
"""Written where the model's own default counts; napari's settings have no None."""


@dataclass(frozen=True)
class Preferences:
    """What the user has chosen.

    Attributes
    ----------
    server
        URL of a model service; empty for the one on this machine.
    model
        Which of its models; its first one when empty.
    decode_at_home
        Where clicks on a server's images are decoded, as for `HomeDecoding`.
    hover
        Whether the cell under the moving cursor is outlined, where the model is fast enough.
    box_score, diameter, min_area, looks, mask_threshold
        As in `SegmentOptions`.
    rule
        ``"fill"`` keeps all cells that are there, ``"replace"`` only those that a person touched;
        ``"new"`` leaves their layer as it is, and adds another one.
    training_minutes, use_better
        How long a model learns, and whether the new one is used when it is better.
    journal_folder
        Where journals are kept; beside each image when empty.
    keys
        Keys by action, where the user has chosen others than the default ones; empty for none.
    """

    server: str = ""
    model: str = ""
    decode_at_home: Mode = "auto"
    hover: bool = True
    box_score: float | None = None
    diameter: float | Literal["auto", "native"] | None = "auto"
    min_area: int | None = None
    looks: int | None = None
    mask_threshold: float = 0.5
    rule: Rule = "fill"
    training_minutes: float = 6.0
    use_better: bool = True
    journal_folder: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise OptionError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(map(repr, words))}")
        if not 0 < self.training_minutes < math.inf:
            raise OptionError(f"training_minutes is {self.training_minutes}; expected more than 0")
        for action, key in self.keys.items():
            if key and not _is_key(key):
                raise OptionError(f"the key of {action} is {key!r}; expected one such as 'H' or 'Control-Z'")
        object.__setattr__(self, "server", self.server.strip())
        object.__setattr__(self, "model", self.model.strip())
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))
        self.options  # noqa: B018 - refuses what is out of range

    @property
    def options(self) -> SegmentOptions:
        """How images are segmented."""
        chosen = {name: getattr(self, name) for name in _OPTIONAL}
        return SegmentOptions(mask_threshold=self.mask_threshold, **chosen)


class PreferenceStore:
    """Keeps the preferences between runs, and tells when they change, here or in napari's own dialog.

    ``changed`` is emitted with the new ones, on the GUI thread.

    Parameters
    ----------
    place
        Where they are kept; napari's settings of this plugin if None, or a file of ours where napari has none.
    """

    changed = Signal(Preferences)

    def __init__(self, place: Place | None = None) -> None:
        self._place = find_place() if place is None else place
        self._saving = False
        self._value = _from_nested(self._place.read())
        self._place.watch(self._on_place)

    @property
    def value(self) -> Preferences:
        """The preferences now."""
        return self._value

    def load(self) -> Preferences:
        """Read the preferences anew, and tell if they have changed; what cannot be understood counts as not chosen."""
        self._set(_from_nested(self._place.read()))
        return self._value

    def save(self, preferences: Preferences) -> None:
        """Keep preferences from now on.

        Raises
        ------
        OutputError
            If they cannot be written; they count until the end of this run all the same.
        """
        self._saving = True
        try:
            self._place.write(_to_nested(preferences))
        finally:
            self._saving = False
            self._set(preferences)

    def update(self, **changes: Any) -> Preferences:
        """Change some of the preferences, as `dataclasses.replace`, and keep them; return them all."""
        self.save(replace(self._value, **changes))
        return self._value

    def close(self) -> None:
        """Let go of napari's settings."""
        self._place.close()

    def _on_place(self) -> None:
        if not self._saving:
            self.load()

    def _set(self, value: Preferences) -> None:
        if value != self._value:
            self._value = value
            self.changed.emit(value)


def _is_key(text: str) -> bool:
    """Whether napari understands a key; it takes any text, and makes a key without a code of nonsense."""
    from napari.utils.key_bindings import coerce_keybinding

    try:
        return all(bool(part.key) for part in coerce_keybinding(text).parts)
    except ValueError:
        return False


# --- the form in which they are kept: text, numbers and truth values in categories, as napari's settings have them


def _optional(kind: Callable[[str], Any], *words: str) -> Callable[[Any], Any]:
    """Return what reads a number, one of some words, or None for the default."""

    def read(text: Any) -> Any:
        text = str(text).strip().lower()
        if text in ("", _DEFAULT):
            return None
        return text if text in words else kind(text)

    return read


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "server": ("service", str),
    "model": ("service", str),
    "decode_at_home": ("service", str),
    "hover": ("prompting", bool),
    "box_score": ("segmentation", _optional(float)),
    "diameter": ("segmentation", _optional(float, "auto", "native")),
    "min_area": ("segmentation", _optional(int)),
    "looks": ("segmentation", _optional(int)),
    "mask_threshold": ("segmentation", float),
    "rule": ("segmentation", str),
    "training_minutes": ("training", float),
    "use_better": ("training", bool),
    "journal_folder": ("journal", str),
}
"""By preference: its category, and what reads it."""


def _to_nested(preferences: Preferences) -> Nested:
    """Return values by category and name."""
    nested: Nested = {"keys": dict(preferences.keys)}
    for name, (category, _) in _READERS.items():
        value = getattr(preferences, name)
        nested.setdefault(category, {})[name] = _written(name, value)
    return nested


def _written(name: str, value: Any) -> Any:
    if value is None:
        return _DEFAULT
    return str(value) if name in _OPTIONAL else value


def _from_nested(nested: Nested) -> Preferences:
    """Return the preferences; a value that cannot be understood is left at its default."""
    given: dict[str, Any] = {}
    for name, (category, read) in _READERS.items():
        if name in nested.get(category, {}):
            given |= _understood(name, read, nested[category][name])
    keys: dict[str, str] = {}
    for action, key in nested.get("keys", {}).items():
        keys |= _understood("keys", _key_of, (action, key)).get("keys", {})
    return Preferences(**given, keys=keys)


def _key_of(pair: tuple[str, Any]) -> dict[str, str]:
    action, key = pair
    return {action: str(key).strip()}


def _understood(name: str, read: Callable[[Any], Any], raw: Any) -> dict[str, Any]:
    """Return one preference by its name, or nothing if it is none."""
    try:
        value = read(raw)
        Preferences(**{name: value})
    except (OptionError, TypeError, ValueError) as error:
        _logger.info("%s is not used: %s", name, error)
        return {}
    return {name: value}
