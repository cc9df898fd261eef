"""The errors that napari-cellsam raises on purpose.

Every message says what was got and what to do about it::

    CellsamError
    ├── ImageError            an image that cannot be used
    │   ├── ImageReadError    a file that cannot be read as an image
    │   ├── ImageShapeError   wrong number of axes, empty, or an unusable type
    │   ├── ChannelError      a channel that does not exist or was not chosen
    │   └── ImageTooLargeError  more pixels than the memory at hand can hold
    ├── PromptError           a click, box or mask that cannot be a prompt
    ├── OptionError           a setting outside its range
    ├── ModelError
    │   ├── ModelNotFoundError    no model is registered under that name
    │   ├── CheckpointError       weights that are broken, unsafe or of another design
    │   └── UnsupportedTaskError  the model cannot do what was asked of it
    ├── DeviceError           the requested device or precision does not exist here
    ├── OutputError           a result that cannot be written where it was asked to go
    └── DatasetError          a folder of training pictures that cannot be used
"""

__all__ = [
    "CellsamError",
    "ChannelError",
    "CheckpointError",
    "DatasetError",
    "DeviceError",
    "ImageError",
    "ImageReadError",
    "ImageShapeError",
    "ImageTooLargeError",
    "ModelError",
    "ModelNotFoundError",
    "OptionError",
    "OutputError",
    "PromptError",
    "UnsupportedTaskError",
]


class CellsamError(Exception):
    """Base of every error that napari-cellsam raises on purpose."""


class ImageError(CellsamError):
    """An image that cannot be used."""


class ImageReadError(ImageError):
    """A file that cannot be read as an image."""


class ImageShapeError(ImageError):
    """An array with the wrong number of axes, without pixels, or of an unusable type."""


class ChannelError(ImageError):
    """A channel that does not exist, or a choice of channels that is not clear."""


class ImageTooLargeError(ImageError):
    """An image with more pixels than the memory at hand can hold."""


class PromptError(CellsamError):
    """A click, box or mask that cannot be a prompt."""


class OptionError(CellsamError):
    """A setting outside its range."""


class ModelError(CellsamError):
    """A model that cannot be had or cannot be used."""


class ModelNotFoundError(ModelError):
    """No model is registered under the name that was given."""


class CheckpointError(ModelError):
    """Weights that are broken, unsafe to load, or of another design."""


class UnsupportedTaskError(ModelError):
    """The model cannot do what was asked of it."""


class DeviceError(CellsamError):
    """The requested device or precision does not exist on this machine."""


class OutputError(CellsamError):
    """A result that cannot be written where it was asked to go."""


class DatasetError(CellsamError):
    """A folder of training pictures that cannot be used."""
