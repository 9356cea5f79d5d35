"""All kinds of generators: built-in, registered, and from installed packages.

A file names the kind of its generator. The name only selects among installed kinds: a module named
in a file is never imported.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import metadata

from ..errors import BundleError, OptionError
from .base import Generator
from .biggan import BigGAN
from .dcgan import DCGAN
from .mobile_proxy import MobileProxy
from .mobile_stylegan import MobileStyleGAN
from .proxy import Proxy
from .stylegan2 import StyleGAN2
from .stylegan3 import StyleGAN3

ENTRY_POINTS = "invcomp.generators"
GENERATOR_KINDS: dict[str, type[Generator]] = {
    "biggan": BigGAN,
    "dcgan": DCGAN,
    "mobile_proxy": MobileProxy,
    "mobile_stylegan": MobileStyleGAN,
    "proxy": Proxy,
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
}


def register(kind: str, generator: type[Generator]) -> None:
    """Registers a generator class, so that files of its kind can be written and read.

    The class must build the same network from the same `options()`, also under
    `torch.device("meta")`. Everything that affects its images must be in its state dict.

    Args:
        kind: its name in files: letters, digits, ".", "_" and "-".
        generator: the class, not abstract.

    Raises:
        OptionError: the name is taken or invalid, or the class is not a complete Generator.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", kind, re.ASCII):
        raise OptionError(f"{kind!r} is not a valid kind: use letters, digits, '.', '_' and '-'")
    if reason := _unfitness(generator):
        raise OptionError(f"{kind} cannot be registered: {reason}")
    if GENERATOR_KINDS.get(kind, generator) is not generator:
        taken = GENERATOR_KINDS[kind]
        raise OptionError(f"{kind} is already registered: {taken.__module__}.{taken.__qualname__}")
    if (name := _name_of(generator)) not in (None, kind):
        raise OptionError(f"{generator.__qualname__} is already registered as {name}")
    GENERATOR_KINDS[kind] = generator


def class_of(kind: str) -> type[Generator]:
    """The class of a kind; entry points of packages are only searched for unknown kinds.

    Raises:
        BundleError: there is none, two packages have one, or it is unusable.
    """
    if not isinstance(kind, str):
        raise BundleError("the kind of the generator is not a valid name")
    if kind not in GENERATOR_KINDS:
        GENERATOR_KINDS[kind] = _installed(kind)
    return GENERATOR_KINDS[kind]


def kind_of(generator: Generator) -> str:
    """The name of a generator's class in files.

    Raises:
        BundleError: it is not registered.
    """
    cls = type(generator)
    if (name := _name_of(cls)) is not None:
        return name
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        # the module of an existing object is already imported: nothing is imported here
        if _imported(entry) is cls and class_of(entry.name) is cls:
            return entry.name
    raise BundleError(
        f"{cls.__qualname__} is not registered: call "
        f'invcomp.generators.register("its-name", {cls.__qualname__}) first'
    )


def _unfitness(generator: object) -> str | None:
    """Why an object is not a usable generator class; None if it is one."""
    if not isinstance(generator, type) or not issubclass(generator, Generator):
        return f"{getattr(generator, '__qualname__', generator)!s} is not a subclass of Generator"
    if inspect.isabstract(generator):
        missing = ", ".join(sorted(generator.__abstractmethods__))
        return f"{generator.__qualname__} lacks {missing}"
    return None


def _name_of(generator: type[Generator]) -> str | None:
    return next((name for name, known in GENERATOR_KINDS.items() if known is generator), None)


def _imported(entry: metadata.EntryPoint) -> object:
    """The object of an entry point if its module is already imported; else None."""
    try:
        return entry.load() if entry.module in sys.modules else None
    except Exception:  # another package's error is reported when its own kind is requested
        return None


def _installed(kind: str) -> type[Generator]:
    """The class that an installed package provides for a kind."""
    found = {
        f"{entry.value} of {entry.dist.name if entry.dist else 'a package'}": entry
        for entry in metadata.entry_points(group=ENTRY_POINTS)
        if entry.name == kind
    }
    if not found:
        known = ", ".join(sorted(GENERATOR_KINDS))
        raise BundleError(
            f"generators of kind {kind!r:.100} are not known here (known: {known}): "
            "install the package that provides it, or register it"
        )
    if len(found) > 1:
        raise BundleError(
            f"several packages provide generators of kind {kind}: {', '.join(sorted(found))}"
        )
    ((origin, entry),) = found.items()
    try:
        generator = entry.load()
    except Exception as error:  # an import can raise anything
        raise BundleError(
            f"generators of kind {kind} cannot be loaded ({origin}): {error}"
        ) from error
    if reason := _unfitness(generator):
        raise BundleError(f"generators of kind {kind} cannot be used ({origin}): {reason}")
    return generator  # type: ignore[no-any-return]
