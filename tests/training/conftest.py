"""Bundles that distilled networks and proxies learn from."""

import pytest

from invcomp.bundle import Bundle
from invcomp.preparation import PrepareOptions, prepare
from invcomp.training.pairs import Pairs, make_pairs

from ..tiny import tiny_bundle, tiny_conditional_generator

COUNT = 240  # pairs
QUICK = PrepareOptions(draws=80, coordinates=64, batch=8, candidates=4, prior_samples=2000)


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny generator with coordinates that are truly its own."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.ivm"
    return prepare(tiny_bundle().generator, path, QUICK, device="cpu")


@pytest.fixture(scope="package")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("conditional") / "tiny.ivm"
    return prepare(tiny_conditional_generator(), path, QUICK, device="cpu")


@pytest.fixture(scope="package")
def pairs(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return make_pairs(bundle, tmp_path_factory.mktemp("pairs"), COUNT, 64, "cpu")
