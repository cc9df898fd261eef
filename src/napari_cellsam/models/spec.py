"""The specification of a model: all that is known of it without its weights."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from napari_cellsam.errors import ModelError, OptionError
from napari_cellsam.types import SegmentOptions
from napari_cellsam.types.finetuning import TrainingRecord

__all__ = ["LocalWeights", "ModelNotes", "ModelSpec", "PackagedWeights", "RemoteWeights", "check_name"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# files of these names cannot be made on Windows, whatever their ending
_DEVICE_NAME = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?")


def check_name(name: str) -> None:
    """Refuse a name that cannot be a file name everywhere.

    Raises
    ------
    ModelError
        If it is not 1 to 64 lower-case letters, digits, dots, dashes and underscores, with a letter or digit at both
        ends.
    """
    if not _NAME.fullmatch(name) or _DEVICE_NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} cannot name a model; use 1 to 64 lower-case letters, digits, '.', '-' and '_', beginning and "
            "ending with a letter or digit"
        )


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that ship in the wheel, by file name."""

    packaged: str

    def __post_init__(self) -> None:
        _check_file_name(self.packaged)


@dataclass(frozen=True)
class RemoteWeights:
    """Weights to be fetched, and the SHA-256 that they must have."""

    url: str
    sha256: str

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ModelError(f"got the address {self.url!r}; weights are fetched from https:// addresses only")
        if not _SHA256.fullmatch(self.sha256):
            raise ModelError(f"got the SHA-256 {self.sha256!r}; expected 64 hexadecimal digits in lower case")


@dataclass(frozen=True)
class LocalWeights:
    """Weights on this machine: a file name beside the specification, or an absolute path elsewhere (``linked``)."""

    path: str
    linked: bool = False

    def __post_init__(self) -> None:
        if not self.linked:
            _check_file_name(self.path)


Weights = PackagedWeights | RemoteWeights | LocalWeights


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without its weights.

    Attributes
    ----------
    name
        1 to 64 lower-case letters, digits, ``.``, ``-`` and ``_``.
    architecture
        Design of the network, as the checkpoint says.
    weights
        Where the weights are.
    input_side
        Height and width of the network's field in pixels.
    licence, licence_url
        Terms of the weights, as a name and an address.
    must_accept
        Whether the user accepts the licence before the first fetch.
    description
        A sentence for the user.
    can_detect
        Whether it finds cells by itself, or only outlines what is pointed at.
    defaults
        Options where the user gives none.
    training
        Where it comes from, if it was fine-tuned on this machine.
    """

    name: str
    architecture: str
    weights: Weights
    input_side: int
    licence: str = "unknown"
    licence_url: str = ""
    must_accept: bool = False
    description: str = ""
    can_detect: bool = True
    defaults: SegmentOptions = field(default_factory=SegmentOptions)
    training: TrainingRecord | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 16 <= self.input_side <= 8192:
            raise ModelError(f"input_side of model {self.name} is {self.input_side}; expected 16 to 8192 pixels")

    def to_json(self) -> str:
        """Return the specification as JSON; options that are None are left out."""
        values = asdict(self)
        if self.training is None:
            del values["training"]
        values["defaults"] = {key: value for key, value in values["defaults"].items() if value is not None}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a specification that `to_json` wrote.

        Raises
        ------
        ModelError
            If it is not JSON, or a field is missing, unknown or wrong.
        """
        try:
            values = json.loads(text)
            values["weights"] = _weights(values["weights"])
            values["defaults"] = SegmentOptions(**values.get("defaults", {}))
            if "training" in values:
                values["training"] = msgspec.convert(values["training"], TrainingRecord)
            return cls(**values)
        except KeyError as error:
            raise ModelError(f"a model specification lacks the field {error}") from error
        except (TypeError, ValueError, OptionError) as error:
            raise ModelError(f"this is no model specification of this version: {error}") from error


@dataclass(frozen=True)
class ModelNotes:
    """What the user says of a model that is added.

    Attributes
    ----------
    description
        A sentence.
    licence, licence_url
        Terms of the weights, as a name and an address.
    input_side
        Height and width of the network's field in pixels; that of the architecture when None.
    defaults
        Options where none are given.
    training
        Where it comes from, if it was fine-tuned here.
    """

    description: str = ""
    licence: str = "unknown"
    licence_url: str = ""
    input_side: int | None = None
    defaults: SegmentOptions = field(default_factory=SegmentOptions)
    training: TrainingRecord | None = None


def _weights(values: dict[str, Any]) -> Weights:
    """Return the place of weights that JSON describes."""
    if "packaged" in values:
        return PackagedWeights(**values)
    return RemoteWeights(**values) if "url" in values else LocalWeights(**values)


def _check_file_name(name: str) -> None:
    """Refuse a name that could lead out of its folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise ModelError(f"got the weights file {name!r}; expected a file name without a folder")
