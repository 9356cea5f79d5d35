"""All exceptions for errors that a user can cause; cli/ catches them in one place.

And the one warning.
"""


class InvcompError(Exception):
    """Base of every error that invcomp raises on purpose. The message is one clear line."""


class ImageError(InvcompError):
    """The input cannot be read as an image: not an image, truncated, or of unusable shape."""


class FrameError(ImageError):
    """The image can be read, but not fitted to the frame: it has no face that can be coded."""


class BitstreamError(InvcompError):
    """An .ivc file or an archive cannot be read: wrong magic, truncated or altered."""


class VersionError(BitstreamError):
    """A file has a newer format version than this program supports."""


class BundleError(InvcompError):
    """A bundle file cannot be read, or does not match what it is used for."""


class MissingBundleError(BundleError):
    """The bundle that a file or a name refers to is not on this machine."""


class DownloadError(InvcompError):
    """Weights could not be downloaded, or do not match the pinned file."""


class OutputError(InvcompError):
    """The output cannot be written: it exists, no space, or no permission."""


class OptionError(InvcompError):
    """An option has an invalid value."""


class GoalError(InvcompError):
    """No file of the image reaches the requested size or LPIPS."""


class WorkerError(InvcompError):
    """A process that encodes images ended by itself, for example because memory ran out."""


class DatasetError(InvcompError):
    """Training images cannot be used: no such folder, too few, or a damaged archive."""


class ImageWarning(UserWarning):
    """An image can be read, but not all of it is used, or something had to be assumed.

    Examples: it is animated, it was reduced, its colour profile is damaged. The message is one
    line; it names the file if there is one. The command line prints it on stderr.
    """
