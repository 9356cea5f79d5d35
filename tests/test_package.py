"""`import invcomp`: what it offers, and that it costs nothing until asked."""

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

import invcomp
from invcomp.conventional import compress


def test_importing_loads_no_torch() -> None:
    script = "import sys, invcomp; print('torch' in sys.modules, 'numpy' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "False False\n", output.stderr


def test_the_decoder_loads_nothing_that_looks_at_images() -> None:
    script = "import sys, invcomp.decoder; print({'lpips', 'torchvision'} & {*sys.modules})"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "set()\n", output.stderr


def test_coding_loads_no_torch() -> None:
    script = (
        "import sys, numpy as np; from invcomp.bitstream import IvcFile, decode, encode;"
        "from invcomp.entropy.mixture import LaplaceMixture;"
        "from invcomp.entropy.tables import PriorTables;"
        "row, scales = np.full((1, 4), 1 << 22, np.uint32), np.zeros(3, np.int16);"
        "mixture = LaplaceMixture(PriorTables(row, 0, 1, scales));"
        "data = encode(np.array([1, 0, -9]), 60, mixture, b'abcd');"
        "print(*decode(IvcFile.unpack(data), mixture).integers, 'torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "1 0 -9 False\n", output.stderr


def test_archives_load_no_torch_until_an_image_is_decoded() -> None:
    script = (
        "import sys, tempfile, invcomp;"
        "path = tempfile.mkdtemp() + '/set.ivca';"
        "invcomp.ArchiveWriter(path).close();"
        "print(len(invcomp.Archive(path)), 'torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout == "0 False\n", output.stderr


def test_decoding_a_conventional_stream_loads_no_torch() -> None:
    script = (
        "import sys, invcomp.photo; from invcomp.conventional import decompress;"
        "before = 'torch' in sys.modules;"
        "decompress(bytes.fromhex(%r)); print(before, 'torch' in sys.modules)"
    )
    stream = compress(Image.new("RGB", (24, 16)), "webp", 300)
    command = [sys.executable, "-c", script % stream.hex()]
    output = subprocess.run(command, capture_output=True, text=True)
    assert output.stdout == "False False\n", output.stderr


ROOMS = [  # each imports from those above it, and none from those below
    ["errors"],
    ["files", "stored"],
    ["device", "entropy", "preprocessing"],
    ["generators", "bitstream", "quality", "domain"],
    ["importers", "latents", "qr"],
    ["model_zoo"],
    ["perception"],
    ["distilled", "conventional"],
    ["bundle", "inversion", "photo"],
    ["lookup"],
    ["decoder", "export"],
    ["archive", "measurement", "fitting", "web"],
    ["runner"],
    ["encoder"],
    ["codec"],
    ["workers", "cluster"],
    ["calibration", "detail_preparation"],
    ["preparation", "evaluation", "pil"],
    ["training"],
    ["cli"],
]


def _imports_of(path: Path, package: Path) -> set[str]:
    """The rooms that a module imports from, its own among them."""
    here = path.relative_to(package.parent).with_suffix("").parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            names = [alias.name for alias in node.names]
            found |= {target[1]} if target[1:] != [""] else set(names)
    return found


def test_imports_run_one_way() -> None:
    package = Path(invcomp.__file__).parent
    heights = {name: height for height, rooms in enumerate(ROOMS) for name in rooms}
    seen = set()
    for path in package.rglob("*.py"):
        room = path.relative_to(package).with_suffix("").parts[0]
        if room.startswith("__"):
            continue
        seen.add(room)
        for other in _imports_of(path, package) - {room, "__version__", "InvcompError"}:
            assert heights[other] < heights[room], f"{path.relative_to(package)} imports {other}"
    assert seen == set(heights)


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
