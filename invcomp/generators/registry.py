"""What kinds of generators there are: our own, registered ones, and those of installed packages.

A file names its generator's kind. The name only selects among what the user has installed: no
module that a file names is ever imported.
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
    """Makes a generator of one's own known, so that files of its kind can be written and read.

    The class must build the same network of the same `options()`, under `torch.device("meta")`
    too; whatever its images depend on must be in its state dict.

    Args:
        kind: what files call it: letters, digits, ".", "_" and "-".
        generator: the class, complete.

    Raises:
        OptionError: the name is taken, or is none, or the class is no complete Generator.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", kind, re.ASCII):
        raise OptionError(f"{kind!r} is no name for a kind: letters, digits, '.', '_' and '-'")
    if reason := _unfitness(generator):
        raise OptionError(f"{kind} cannot be registered: {reason}")
    if GENERATOR_KINDS.get(kind, generator) is not generator:
        taken = GENERATOR_KINDS[kind]
        raise OptionError(f"{kind} is registered already: {taken.__module__}.{taken.__qualname__}")
    if (name := _name_of(generator)) not in (None, kind):
        raise OptionError(f"{generator.__qualname__} is registered already, as {name}")
    GENERATOR_KINDS[kind] = generator


def class_of(kind: str) -> type[Generator]:
    """The class of a kind; packages' entry points are asked only for one that is not known.

    Raises:
        BundleError: there is none, two packages have it, or the package's is unusable.
    """
    if not isinstance(kind, str):
        raise BundleError("a generator's kind that is no name")
    if kind not in GENERATOR_KINDS:
        GENERATOR_KINDS[kind] = _installed(kind)
    return GENERATOR_KINDS[kind]


def kind_of(generator: Generator) -> str:
    """What files call a generator's class.

    Raises:
        BundleError: nothing, as it is not registered.
    """
    cls = type(generator)
    if (name := _name_of(cls)) is not None:
        return name
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        # whoever holds an object of the class has imported its module: none is imported for this
        if _imported(entry) is cls and class_of(entry.name) is cls:
            return entry.name
    raise BundleError(
        f"{cls.__qualname__} is not registered: call "
        f'invcomp.generators.register("its-name", {cls.__qualname__}) first'
    )


def _unfitness(generator: object) -> str | None:
    """Why something is no generator that can be built; None: it is one."""
    if not isinstance(generator, type) or not issubclass(generator, Generator):
        return f"{getattr(generator, '__qualname__', generator)!s} is no subclass of Generator"
    if inspect.isabstract(generator):
        missing = ", ".join(sorted(generator.__abstractmethods__))
        return f"{generator.__qualname__} lacks {missing}"
    return None


def _name_of(generator: type[Generator]) -> str | None:
    return next((name for name, known in GENERATOR_KINDS.items() if known is generator), None)


def _imported(entry: metadata.EntryPoint) -> object:
    """What an entry point names, where its module is imported already; else None."""
    try:
        return entry.load() if entry.module in sys.modules else None
    except Exception:  # another package's mistake is told where its own kind is asked for
        return None


def _installed(kind: str) -> type[Generator]:
    """The class that an installed package offers under a kind's name."""
    found = {
        f"{entry.value} of {entry.dist.name if entry.dist else 'a package'}": entry
        for entry in metadata.entry_points(group=ENTRY_POINTS)
        if entry.name == kind
    }
    if not found:
        known = ", ".join(sorted(GENERATOR_KINDS))
        raise BundleError(
            f"generators of kind {kind!r:.100} are not known here (known: {known}): "
            "install the package that has it, or register it"
        )
    if len(found) > 1:
        raise BundleError(
            f"several packages have generators of kind {kind}: {', '.join(sorted(found))}"
        )
    ((origin, entry),) = found.items()
    try:
        generator = entry.load()
    except Exception as error:  # whatever an import can raise
        raise BundleError(
            f"generators of kind {kind} cannot be loaded ({origin}): {error}"
        ) from error
    if reason := _unfitness(generator):
        raise BundleError(f"generators of kind {kind} cannot be used ({origin}): {reason}")
    return generator  # type: ignore[no-any-return]
