"""A judge of identity: an external face recognition network that no search optimises."""

from __future__ import annotations

import importlib.util
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import ImageError, OptionError

NAME = "identity.py"


class Judge:
    """The `Identity` class of a folder's identity.py. The file is executed: use trusted ones only.

    The class takes no arguments and has two methods. `frame(image)` returns where the face of a PIL
    image is, in any form, or raises ValueError. `embed(image, frame)` returns the descriptor of the
    face there, a numpy vector of length 1.

    Args:
        folder: with identity.py.

    Raises:
        OptionError: there is no such file, or it fails.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        if not path.is_file():
            raise OptionError(f"{folder} has no {NAME}: not the folder of a judge")
        try:
            self.network: Any = _run(path).Identity()
        except Exception as error:  # a third-party module can raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise OptionError(f"{path} is not a judge: {reason}") from error

    def see(self, images: Tensor) -> Seen:
        """Prepares an image [1, 3, H, W] in [0, 1] for comparison."""
        pixels = (images[0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()
        return Seen(self.network, Image.fromarray(pixels))


class Seen:
    """One image; its face is located once."""

    def __init__(self, network: Any, image: Image.Image) -> None:
        self.network, self.image = network, image

    @cached_property
    def frame(self) -> Any:
        """Where the face is.

        Raises:
            ImageError: there is none.
        """
        try:
            return self.network.frame(self.image)
        except ValueError as error:
            raise ImageError(f"the judge finds no face: {error}") from error

    @cached_property
    def descriptor(self) -> Any:
        """The descriptor of the face."""
        return self.network.embed(self.image, self.frame)

    def cosine(self, decoded: Seen) -> float:
        """Cosine of the descriptors of this face and of the same place in a decoded image."""
        found = self.network.embed(decoded.image, self.frame)
        return float(np.dot(self.descriptor, found))


def _run(path: Path) -> ModuleType:
    """The module of a file; it can import modules next to it."""
    spec = importlib.util.spec_from_file_location("invcomp_judge", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
