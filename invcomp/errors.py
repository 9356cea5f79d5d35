"""The one exception family: what a user can cause ends in one of these; cli/ catches them once."""


class InvcompError(Exception):
    """Base of every error that invcomp raises on purpose. The message is one clear line."""


class ImageError(InvcompError):
    """The input is no image that can be read: not an image, truncated, an unusable shape."""


class BitstreamError(InvcompError):
    """An .ivc file that cannot be read: wrong magic, truncated, altered."""


class VersionError(BitstreamError):
    """An .ivc file of a format version newer than this program."""


class BundleError(InvcompError):
    """A bundle file that cannot be read, or does not belong to what it is used for."""


class MissingBundleError(BundleError):
    """The bundle that a file or a name asks for is not on this machine."""


class DownloadError(InvcompError):
    """Weights could not be fetched, or what came is not what was pinned."""


class OutputError(InvcompError):
    """The output cannot be written: it exists, or no space, no permission."""


class OptionError(InvcompError):
    """An option whose value makes no sense."""


class GoalError(InvcompError):
    """A size or a distance that was asked for, and that no file of the image has."""


class DatasetError(InvcompError):
    """Images to train on that cannot be used: no such folder, too few, a damaged archive."""
