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
    │   └── DeviceMemoryError     the device's memory does not hold even the smallest step
    ├── OutputError           a result that cannot be written where it was asked to go
    ├── JournalError          a journal of edits that cannot be read or does not fit
    ├── DatasetError          a folder of training pictures that cannot be used
    └── ServiceError          a model service that did not answer as it should
        ├── ServiceUnavailableError  it cannot be reached, has died, or is shutting down
        ├── ServiceTimeoutError      it was reached, but an answer did not come in time
        ├── ServiceBusyError         it has more to do than it takes on
        ├── ServiceInternalError     it failed at a request in a way that nobody foresaw
        ├── AuthenticationError      it did not accept the token
        ├── VersionMismatchError     it speaks another version of the protocol
        ├── MessageError             a message that is not one, or does not hold what it says
        ├── LimitExceededError       a request larger than the service allows
        ├── ImageNotCachedError      the service does not have the image any more
        └── RequestCancelledError    the request was cancelled
            └── RequestReplacedError     a newer request took its place before it began
"""

__all__ = [
    "AuthenticationError",
    "CellsamError",
    "ChannelError",
    "CheckpointError",
    "DatasetError",
    "DeviceError",
    "DeviceMemoryError",
    "ImageError",
    "ImageNotCachedError",
    "ImageReadError",
    "ImageShapeError",
    "ImageTooLargeError",
    "JournalError",
    "LimitExceededError",
    "MessageError",
    "ModelError",
    "ModelNotFoundError",
    "OptionError",
    "OutputError",
    "PromptError",
    "RequestCancelledError",
    "RequestReplacedError",
    "ServiceBusyError",
    "ServiceError",
    "ServiceInternalError",
    "ServiceTimeoutError",
    "ServiceUnavailableError",
    "UnsupportedTaskError",
    "VersionMismatchError",
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


class DeviceMemoryError(DeviceError):
    """The device's memory does not hold even the smallest step of the work."""


class OutputError(CellsamError):
    """A result that cannot be written where it was asked to go."""


class JournalError(CellsamError):
    """A journal of edits that cannot be read, or does not fit what it is used for."""


class DatasetError(CellsamError):
    """A folder of training pictures that cannot be used."""


class ServiceError(CellsamError):
    """A model service that did not answer as it should."""


class ServiceUnavailableError(ServiceError):
    """The service cannot be reached, has died, or is shutting down."""


class ServiceTimeoutError(ServiceError):
    """The service was reached, but an answer did not come in time."""


class ServiceBusyError(ServiceError):
    """The service has more to do than it takes on."""


class ServiceInternalError(ServiceError):
    """The service failed at a request in a way that nobody foresaw."""


class AuthenticationError(ServiceError):
    """The service did not accept the token."""


class VersionMismatchError(ServiceError):
    """The service speaks another version of the protocol."""


class MessageError(ServiceError):
    """A message that is not one, or does not hold what it says."""


class LimitExceededError(ServiceError):
    """A request that is larger than the service allows."""


class ImageNotCachedError(ServiceError):
    """The service does not have the image any more, or never had it."""


class RequestCancelledError(ServiceError):
    """The request was cancelled before it was answered."""


class RequestReplacedError(RequestCancelledError):
    """A newer request of the same client took the place of this one before it began."""
