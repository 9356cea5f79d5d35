"""`import invcomp`: what it offers, and that it costs nothing until asked."""

import subprocess
import sys
from importlib import metadata

import pytest

import invcomp


def test_importing_loads_no_torch() -> None:
    script = "import sys, invcomp; print('torch' in sys.modules, 'numpy' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "False False\n", output.stderr


def test_the_decoder_loads_nothing_that_looks_at_pictures() -> None:
    script = "import sys, invcomp.decoder; print({'lpips', 'torchvision'} & {*sys.modules})"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "set()\n", output.stderr


def test_everything_that_is_offered_is_there() -> None:
    from invcomp.codec import Codec

    assert invcomp.Codec is Codec
    for name in invcomp.__all__:
        assert getattr(invcomp, name) is not None
        assert name in dir(invcomp)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = invcomp.no_such_name


def test_the_version_is_the_distributions() -> None:
    try:
        assert invcomp.__version__ == metadata.version("invcomp")
    except metadata.PackageNotFoundError:
        pytest.skip("invcomp is not installed, only its source tree is here")
