"""Encodes one stream of images on a Ray cluster (extra `ray`).

Ray Data gives the images to actors, each with a codec of its own, holds back what they cannot take,
and gives the images of an actor that ended to another one.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .bundle import Bundle
from .codec import Codec
from .encoder import EncodeOptions
from .errors import ImageWarning, InvcompError, OptionError, WorkerError
from .runner import Input, Outcome, StreamCallback

TRIES = 3  # of an image over which actors end
MOST_TASKS = 10_000  # more of them, and the driver is the slowest part
LOCAL = "local"
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Cluster:
    """Actors on a Ray cluster.

    Attributes:
        bundle: generator, coordinates and priors; a copy goes to each actor.
        address: of the cluster, as `ray.init` takes it; "auto": the one that this machine belongs
            to; "local": one of this machine alone, for this process.
        actors: how many. None: one for each CPU, or GPU, that the cluster has now.
        device: of each actor: "cpu", which takes one CPU, or "cuda", which takes one GPU; "auto":
            a GPU if the cluster has any.
        compiled: see `Encoder`.

    Raises:
        OptionError: one of them is out of range.
    """

    bundle: Bundle
    address: str = "auto"
    actors: int | None = None
    device: str = "auto"
    compiled: bool | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise OptionError(f"device {self.device}: on a cluster, one of {', '.join(DEVICES)}")
        if self.actors is not None and self.actors < 1:
            raise OptionError(f"{self.actors} actors: at least 1 is needed")

    def stream(
        self,
        inputs: Iterable[Input],
        options: EncodeOptions | None = None,
        total: int | None = None,
        progress: StreamCallback | None = None,
    ) -> Generator[Outcome, None, None]:
        """Compresses images: for each a file or an error, in the same order.

        If an actor ends, Ray gives its batch to another one, which encodes the images one by one.
        An image over which three actors ended has a `WorkerError`.

        Args:
            inputs: as of `Encoder.stream`, but all are taken at once, and pickled. A path must lead
                to the same file on every machine.
            options: as of `Encoder.stream`.
            total: not needed.
            progress: is not called: outcomes are the progress.

        Raises:
            OptionError: Ray is missing, or there is no such cluster or device.
            WorkerError: the cluster failed.
        """
        ray = _ray()
        items = list(inputs)
        if not items:
            return _none()
        connected = _connect(ray, self.address)
        return self._outcomes(ray, items, options or EncodeOptions(), connected)

    def _outcomes(
        self, ray: Any, items: list[Input], options: EncodeOptions, connected: bool
    ) -> Generator[Outcome, None, None]:
        keys = [key for key, _ in items]
        try:
            for number, outcome, notes in self._results(ray, items, options):
                for note in notes:
                    warnings.warn(ImageWarning(note), stacklevel=1)
                yield replace(outcome, key=keys[number])
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise WorkerError(f"the cluster failed: {lines[-1]}") from error
        finally:
            if connected:
                ray.shutdown()

    def _results(
        self, ray: Any, items: list[Input], options: EncodeOptions
    ) -> Iterator[tuple[int, Outcome, list[str]]]:
        """Number, outcome and warnings of each image, in order."""
        from ray.data import ActorPoolStrategy, from_items

        resources = ray.cluster_resources()
        on_gpu = self.device == "cuda" or (self.device == "auto" and resources.get("GPU", 0) >= 1)
        if on_gpu and resources.get("GPU", 0) < 1:
            raise OptionError("the cluster has no GPU")
        actors = self.actors or max(int(resources.get("GPU" if on_gpu else "CPU", 1)), 1)
        size = max(options.batch or (16 if on_gpu else 1), -(-len(items) // MOST_TASKS))
        rows = [
            {"number": number, "image": ray.cloudpickle.dumps(image)}
            for number, (_, image) in enumerate(items)
        ]
        attempts = ray.remote(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy=_here(ray),
        )(_Attempts).remote()
        shared = ray.put(self.bundle), attempts
        device = "cuda" if on_gpu else "cpu"
        settings = _Settings(shared, device, self.compiled, options, len(items))
        results = from_items(rows, override_num_blocks=-(-len(rows) // size)).map_batches(
            _Actor,
            fn_constructor_args=(settings,),
            batch_size=size,
            compute=ActorPoolStrategy(size=min(actors, -(-len(rows) // size))),
            num_cpus=0 if on_gpu else 1,
            num_gpus=1 if on_gpu else 0,
        )
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, InvcompError):
                raise result
            yield result


class _Attempts:
    """Counts how often images were begun; one actor of the cluster, so that it survives others."""

    def __init__(self) -> None:
        self.counts = Counter[tuple[str | int, ...]]()

    def begin(self, *images: str | int) -> int:
        """Counts and returns how often these were begun together."""
        self.counts[images] += 1
        return self.counts[images]

    def end(self, *images: str | int) -> None:
        """Forgets them."""
        self.counts.pop(images, None)


@dataclass(frozen=True)
class _Settings:
    """What an actor needs besides images.

    Attributes:
        shared: references to the bundle and to the attempts; in a tuple, Ray does not resolve them.
        total: images of all actors.
    """

    shared: tuple[Any, Any]
    device: str
    compiled: bool | None
    options: EncodeOptions
    total: int


class _Actor:
    """Encodes batches, on a machine of the cluster."""

    def __init__(self, settings: _Settings) -> None:
        import ray

        if settings.device == "cpu":
            torch.set_num_threads(1)  # it has one CPU; several processes are faster than threads
        bundle, self.attempts = settings.shared
        self.settings, self.get = settings, ray.get
        self.codec = Codec(ray.get(bundle), settings.device, settings.compiled)

    def __call__(self, batch: dict[str, Sequence[Any]]) -> Iterator[dict[str, list[Any]]]:
        images = dict(zip(map(int, batch["number"]), batch["image"], strict=True))
        said: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("always", ImageWarning)
            warnings.showwarning = lambda message, *_, **__: said.append(str(message))
            try:
                for outcome in self._outcomes(images):
                    result = outcome.key, replace(outcome, key=None), [*said]
                    said.clear()
                    yield {"result": [pickle.dumps(result)]}
            except InvcompError as error:  # of options: it ends the run
                yield {"result": [pickle.dumps(error)]}

    def _outcomes(self, images: dict[int, bytes]) -> Iterator[Outcome]:
        if self._begin(*images) == 1:
            yield from self._encoded(images)
        else:
            for number, image in images.items():
                if self._begin("alone", number) < TRIES:  # besides once in its batch
                    yield from self._encoded({number: image})
                else:
                    reason = f"{TRIES} worker processes ended over this image"
                    yield Outcome(number, error=WorkerError(reason))
                self.attempts.end.remote("alone", number)
        self.attempts.end.remote(*images)

    def _begin(self, *images: str | int) -> int:
        return int(self.get(self.attempts.begin.remote(*images)))

    def _encoded(self, images: dict[int, bytes]) -> Iterator[Outcome]:
        inputs = ((number, pickle.loads(image)) for number, image in images.items())
        return self.codec.stream(inputs, self.settings.options, self.settings.total)


def _none() -> Generator[Outcome, None, None]:
    yield from ()


def _here(ray: Any) -> Any:
    """Where this process is, rather than on a machine that may end."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise OptionError('Ray is missing: pip install "invcomp[ray]"') from error
    return ray


def _connect(ray: Any, address: str) -> bool:
    """Connects to a cluster, quietly. False: this process was connected before.

    Raises:
        OptionError: there is none.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OptionError(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from error
    return True
