"""A Ray cluster of two workers on this machine: order, errors, and actors that are killed."""

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from invcomp.cluster import TRIES, Cluster
from invcomp.codec import Codec
from invcomp.errors import ImageWarning, OptionError, WorkerError
from invcomp.inversion.options import SearchOptions

from .cli.conftest import ROOT
from .test_workers import OPTIONS, bundle, deadly, inputs, refused, warned

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'invcomp[ray]'")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"device": "mps"}, "one of auto, cpu, cuda"),
        ({"actors": 0}, "at least 1"),
        ({"address": "auto"}, "no Ray cluster at auto"),
    ],
)
def test_clusters_that_cannot_be(
    settings: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(OptionError, match=says):
        Cluster(bundle(), **settings).stream(inputs(1))


def test_without_ray_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['ray'] = None;"
        "from invcomp.cluster import Cluster; from tests.tiny import tiny_bundle;"
        "Cluster(tiny_bundle()).stream([(1, None)])"
    )
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert 'pip install "invcomp[ray]"' in output.stderr


# On one cluster, which the tests above must not find ----------------------------------------------


@pytest.fixture(scope="module")
def two_cpus() -> Iterator[None]:
    """A cluster that this process is connected to."""
    path = os.environ.get("PYTHONPATH", "")
    environment = {"env_vars": {"PYTHONPATH": f"{ROOT}{os.pathsep}{path}"}}  # tests' functions
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


def test_the_outcomes_are_those_of_one_process(two_cpus: None, tmp_path: Path) -> None:
    """To the byte; an actor that is killed loses nothing."""
    images = inputs(6, bad=refused, odd=partial(warned, 7), killer=partial(deadly, tmp_path, 1))
    with pytest.warns(ImageWarning, match="image 7 is odd"):
        outcomes = [*Cluster(bundle(), "auto", 2, "cpu", False).stream(images, OPTIONS)]
    assert [outcome.key for outcome in outcomes] == [key for key, _ in images]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the bytes depend on it
    try:
        codec = Codec(bundle(), "cpu", compiled=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)
            expected = [*codec.stream(images, OPTIONS)]
    finally:
        torch.set_num_threads(threads)
    for found, one in zip(outcomes, expected, strict=True):
        assert str(found.error) == str(one.error)
        assert (found.encoded and found.encoded.data) == (one.encoded and one.encoded.data)


def test_an_image_that_kills_is_an_error_of_its_own(two_cpus: None, tmp_path: Path) -> None:
    """The others of its batch are encoded."""
    images = inputs(4, deadly=partial(deadly, tmp_path, 99))
    options = replace(OPTIONS, batch=3)
    outcomes = [*Cluster(bundle(), "auto", 2, "cpu", False).stream(images, options)]
    assert [outcome.key for outcome in outcomes] == [key for key, _ in images]
    (failed,) = (outcome for outcome in outcomes if outcome.error)
    assert failed.key == "deadly"
    assert isinstance(failed.error, WorkerError)
    assert f"{TRIES} worker processes ended" in str(failed.error)


def test_errors_that_end_the_run(two_cpus: None) -> None:
    options = replace(OPTIONS, search=SearchOptions(starts=99))
    with pytest.raises(OptionError, match=r"^starts is 99: at most 9") as error:
        list(Cluster(bundle(), "auto", 1, "cpu", False).stream(inputs(1), options))
    assert "\n" not in str(error.value)
    with pytest.raises(OptionError, match="no GPU"):
        list(Cluster(bundle(), "auto", 1, "cuda").stream(inputs(1)))
    assert [*Cluster(bundle()).stream([])] == []
