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


def test_every_image_has_one_outcome_whoever_is_killed(two_cpus: None, tmp_path: Path) -> None:
    """In order. An image that kills actors takes no other of its batch with it."""
    images = inputs(4, bad=refused, odd=partial(warned, 7), deadly=partial(deadly, tmp_path, 99))
    options = replace(OPTIONS, batch=3)
    with pytest.warns(ImageWarning, match="image 7 is odd"):
        outcomes = [*Cluster(bundle(), "auto", 2, "cpu", False).stream(images, options)]
    assert [outcome.key for outcome in outcomes] == [key for key, _ in images]
    errors = {outcome.key: outcome.error for outcome in outcomes if outcome.error}
    assert {*errors} == {"bad", "deadly"}
    assert str(errors["bad"]) == "not this one"
    assert isinstance(errors["deadly"], WorkerError)
    assert f"{TRIES} worker processes ended" in str(errors["deadly"])
    codec = Codec(bundle(), "cpu", compiled=False)
    for outcome in outcomes:
        if outcome.encoded:
            image = dict(images)[outcome.key]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ImageWarning)
                again = codec.measure(image() if callable(image) else image, outcome.encoded.data)
            assert outcome.encoded.lpips == pytest.approx(again.lpips, abs=1e-3)


def test_errors_that_end_the_run(two_cpus: None) -> None:
    options = replace(OPTIONS, search=SearchOptions(starts=99))
    with pytest.raises(OptionError, match=r"^starts is 99: at most 9") as error:
        list(Cluster(bundle(), "auto", 1, "cpu", False).stream(inputs(1), options))
    assert "\n" not in str(error.value)
    with pytest.raises(OptionError, match="no GPU"):
        list(Cluster(bundle(), "auto", 1, "cuda").stream(inputs(1)))
    assert [*Cluster(bundle()).stream([])] == []
