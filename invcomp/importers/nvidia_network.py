"""Builds our networks from the modules in NVIDIA's pickles: exactly, or not at all.

A pickle contains the attributes and constructor arguments of every module. The behaviour of a layer
is taken from its own attributes, else from the constructor arguments of it and of the modules
around it, else from NVIDIA's defaults. Behaviour that our networks do not support is an error, and
so is every unknown tensor or module.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import BundleError
from ..generators.base import Generator
from ..generators.stylegan2 import GAIN, FullyConnected, StyleGAN2, ToRGB
from ..generators.stylegan3 import Design, StyleGAN3
from .torch_file import is_resampling_filter, load_into

LONGEST_NAME = 1000  # of a tensor, including its modules
TOLERANCE = 1e-6  # of factors
# arguments of a Generator in both repositories, in this order
POSITIONS = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "mapping_kwargs",
             "synthesis_kwargs")  # fmt: skip
DESIGN = {  # NVIDIA's names of the parts of a design, and ours
    "num_layers": "layers",
    "num_critical": "critical",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband_rel",
    "margin_size": "margin",
    "channel_base": "channel_base",
    "channel_max": "channel_max",
    "conv_kernel": "kernel",
    "filter_size": "filter_size",
    "lrelu_upsampling": "upsampling",
    "use_radial_filters": "radial",
    "output_scale": "output_scale",
}

MISSING = object()  # the file has no such value
PLAIN = (bool, int, float, str, type(None))  # printing or comparing others may not end

Tensors = dict[str, NDArray[Any]]


class Module:
    """Stands in for an object whose class is pickled as source: only its attributes."""

    def __init__(self, meta: object) -> None:
        if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a persistent object without a state")
        self.state: dict[Any, Any] = meta["state"]

    def argument(self, name: str) -> Any:
        """A constructor argument by name (for a whole generator also by position), or MISSING."""
        named, positional = self.state.get("_init_kwargs"), self.state.get("_init_args")
        if isinstance(named, dict) and name in named:
            return named[name]
        if name in POSITIONS and isinstance(positional, tuple) and "synthesis" in self.inner:
            place = POSITIONS.index(name)
            return positional[place] if place < len(positional) else MISSING
        return MISSING

    @property
    def inner(self) -> dict[str, Any]:
        """Its submodules by name."""
        return _dict(self.state.get("_modules"))

    def tensors(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Its own parameters and buffers.

        Raises:
            ValueError: something else is among them.
        """
        for kind in ("_parameters", "_buffers"):
            for name, value in _dict(self.state.get(kind)).items():
                if isinstance(value, np.ndarray):
                    yield name, value
                elif value is not None:
                    raise ValueError(f"{name} is among the tensors but is not a tensor")


def _dict(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


class Network:
    """The modules and tensors of a generator, under torch's names.

    Attributes:
        modules: all modules; the generator's own name is "".
        tensors: parameters and buffers.
    """

    def __init__(self, generator: Module) -> None:
        self.modules: dict[str, Module] = {}
        self.tensors: Tensors = {}
        seen: set[int] = set()
        waiting = [("", generator)]
        while waiting:
            name, module = waiting.pop()
            if id(module) in seen or len(name) > LONGEST_NAME:  # recursive: would not end
                raise ValueError("a module that is shared or nested without end")
            seen.add(id(module))
            self.modules[name] = module
            prefix = f"{name}." if name else ""
            self.tensors |= {f"{prefix}{own}": value for own, value in module.tensors()}
            for own, inner in module.inner.items():
                if isinstance(inner, Module):
                    waiting.append((f"{prefix}{own}", inner))
                elif inner is not None:
                    raise ValueError(f"{prefix}{own} is among the modules but is not a module")

    def attribute(self, place: str, name: str, default: Any, inherited: bool = True) -> Any:
        """An attribute of a module, or the constructor argument of it or of one around it.

        Args:
            place: of the module.
            name: of the attribute and of the argument.
            default: if there is neither.
            inherited: whether modules around it pass the argument on.

        Raises:
            ValueError: it is not a number, text or None.
        """
        found = self._said(place, name, inherited)
        if found is MISSING:
            return default
        if not isinstance(found, PLAIN):
            raise ValueError(f"{name} is a {type(found).__name__}, not a plain value")
        return found

    def _said(self, place: str, name: str, inherited: bool) -> Any:
        """Like `attribute`, but possibly MISSING, and of any type."""
        module = self.modules.get(place)
        if module is not None and name in module.state:
            return module.state[name]
        around = place
        while around:
            module = self.modules.get(around)
            if module is not None and (found := module.argument(name)) is not MISSING:
                return found
            if not inherited:
                return MISSING
            around = around.rpartition(".")[0]
        whole = self.modules[""]
        part = "mapping_kwargs" if place.startswith("mapping") else "synthesis_kwargs"
        nested = _dict(whole.argument(part))
        return nested[name] if name in nested else whole.argument(name)


def build(network: Network) -> Generator:
    """Our network with NVIDIA's tensors, whose names determine the kind.

    Raises:
        BundleError, OptionError, ValueError, KeyError: ours does not support it.
    """
    colours = network.attribute("", "img_channels", 3)
    if colours != 3:
        raise BundleError(f"{colours!r:.40} channels: images have 3")
    if "synthesis.b4.const" in network.tensors:
        made: Generator = _stylegan2(network)
    elif "synthesis.input.freqs" in network.tensors:
        made = _stylegan3(network)
    else:
        raise BundleError("its parameters are neither StyleGAN2 nor StyleGAN3")
    kind = type(made).__name__
    if more := sorted(network.modules.keys() - dict(made.named_modules()).keys()):
        raise BundleError(f"{more[0]} is a module that a {kind} does not have: it is from a fork")
    _fold_gains(made, network)
    load_into(made, network.tensors)
    return made.eval().requires_grad_(False)


def _fold_gains(generator: Generator, network: Network) -> None:
    """Checks activations and rescales weights for the factors of our layers."""
    for place, layer in generator.named_modules():
        if isinstance(layer, FullyConnected):
            in_mapping = layer.activate  # only these inherit the mapping's arguments
            activation = network.attribute(
                place, "activation", "lrelu" if layer.activate else "linear", in_mapping
            )
            _check_activation(place, activation, "lrelu" if layer.activate else "linear")
            rate = network.attribute(place, "lr_multiplier", layer.bias_gain, in_mapping)
            inputs = layer.weight.shape[1]
            gain = network.attribute(place, "weight_gain", _number(rate) / math.sqrt(inputs), False)
            _fold(network.tensors, f"{place}.weight", gain, layer.weight_gain)
            gain = network.attribute(place, "bias_gain", rate, False)
            _fold(network.tensors, f"{place}.bias", gain, layer.bias_gain)
        elif isinstance(layer, ToRGB):
            usual = 1 / math.sqrt(layer.weight.shape[1])
            gain = network.attribute(place, "weight_gain", usual, False)
            _fold(network.tensors, f"{place}.weight", gain, usual)


def _number(value: object) -> float:
    """A factor from a file.

    Raises:
        ValueError: it is not a number.
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"a factor that is {value!r:.40}")
    return float(value)


def _fold(tensors: Tensors, name: str, gain: object, ours: float) -> None:
    """Multiplies a tensor by the ratio of its layer's factor to ours."""
    factor = _number(gain) / ours
    if name in tensors and abs(factor - 1) > TOLERANCE:
        tensors[name] = (tensors[name] * np.float64(factor)).astype(np.float32)


def _check_activation(place: str, found: object, expected: str) -> None:
    if found != expected:
        raise BundleError(f"{place} has the activation {found!r:.40}: only {expected} is supported")


def _clamp(network: Network, places: list[str], default: float | None) -> float | None:
    """The bound at which all layers clamp; None if they do not."""
    found = [network.attribute(place, "conv_clamp", default) for place in places]
    if any(value != found[0] for value in found):
        few = " and ".join(sorted({f"{value!r:.40}" for value in found})[:2])
        raise BundleError(f"its layers clamp at {few}: only one bound for all is supported")
    return found[0]  # type: ignore[no-any-return]


def _mapping(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Sizes, depth and classes of the mapping network, from its tensors."""
    depth = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in tensors)
    w_size, inputs = tensors["mapping.fc0.weight"].shape
    embedding = tensors.get("mapping.embed.weight")  # [numbers per class, classes]
    beside, classes = (0, 0) if embedding is None else embedding.shape
    return {
        "z_size": inputs - beside,
        "w_size": w_size,
        "mapping_depth": depth,
        "classes": classes,
    }


def _stylegan2(network: Network) -> StyleGAN2:
    """Infers channels from the shapes of each resolution's second convolution."""
    tensors = network.tensors
    channels: list[int] = []
    while (name := f"synthesis.b{4 << len(channels)}.conv1.weight") in tensors:
        channels.append(tensors[name].shape[0])
    if not channels:
        raise KeyError(name)
    blocks = [f"synthesis.b{4 << index}" for index in range(len(channels))]
    skips = [f"{block}.torgb.weight" in tensors for block in blocks]
    if not all(skips) or any(f"{block}.skip" in network.modules for block in blocks):
        raise BundleError("its architecture is not skip outputs")
    if (colours := len(tensors[f"{blocks[-1]}.torgb.weight"])) != 3:
        raise BundleError(f"{colours} channels: images have 3")
    for name in [name for name in tensors if name.endswith(".resample_filter")]:
        if not is_resampling_filter(tensors.pop(name), 1):
            raise BundleError("its resampling filter is not [1, 3, 3, 1]")
    layers = [f"{block}.conv{index}" for block in blocks for index in (0, 1)][1:]
    for place in layers:
        _check_activation(place, network.attribute(place, "activation", "lrelu"), "lrelu")
        gain = _number(network.attribute(place, "act_gain", GAIN, False))
        if abs(gain / GAIN - 1) > TOLERANCE:
            raise BundleError(f"{place} has the gain {gain}: only that of lrelu is supported")
    # only blocks of the StyleGAN3 repository have this attribute; they clamp by default
    newer = network.attribute(blocks[0], "fused_modconv_default", None) is not None
    places = [*layers, *(f"{block}.torgb" for block in blocks)]
    clamp = _clamp(network, places, 256 if newer else None)
    with torch.device("meta"):
        return StyleGAN2(channels, **_mapping(tensors), clamp=clamp)


def _stylegan3(network: Network) -> StyleGAN3:
    """The design comes from the constructor arguments of the network."""
    kinds = {name: type(value) for name, value in vars(Design()).items()}
    design: dict[str, Any] = {}
    for theirs, ours in DESIGN.items():
        value = network.attribute("synthesis", theirs, None)
        if value is None:
            continue
        if (design.setdefault(ours, kinds[ours](value))) != value:
            raise ValueError(f"{theirs} is {value!r:.40}")
    layers = [
        place
        for place in network.modules
        if place.startswith("synthesis.L") and place.count(".") == 1
    ]
    if not layers:
        raise ValueError("synthesis has no layers")
    design["clamp"] = _clamp(network, layers, Design.clamp)
    size = network.attribute("synthesis", "img_resolution", None)
    if size is None:
        raise ValueError("img_resolution is missing")
    with torch.device("meta"):
        made = StyleGAN3(int(size), **_mapping(network.tensors), design=design)
    _check_bands(made, network)
    return made


def _check_bands(made: StyleGAN3, network: Network) -> None:
    """Compares the design with the attributes of the layers."""
    first = made.synthesis.input
    facts: dict[tuple[str, str], float] = {
        ("synthesis.input", "bandwidth"): first.bandwidth,
        ("synthesis.input", "sampling_rate"): first.rate,
    }
    for name in made.synthesis.names:
        layer, place = getattr(made.synthesis, name), f"synthesis.{name}"
        facts |= {(place, "up_factor"): layer.up, (place, "down_factor"): layer.down}
    for (place, name), expected in facts.items():
        found = network.attribute(place, name, expected, False)
        if not math.isclose(_number(found), expected, rel_tol=TOLERANCE):
            raise BundleError(
                f"{place} has the {name} {found!r:.40}, but its design has {expected}"
            )
