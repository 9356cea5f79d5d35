"""Measures what `invcomp export --half` changes: pixels and LPIPS against torch, on files.

    python scripts/benchmarks/half.py FILES... -o runs/half
    python scripts/benchmarks/half.py FILES... -o runs/half --originals DIR

Exports the model into the folder, unless it is there, and decodes each file by onnxruntime and by
torch. With --originals, a folder of PORTRAIT.jpg for files PORTRAIT_*.ivc, also says how LPIPS
against the original changes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from invcomp.bitstream import IvcFile, decode
from invcomp.decoder import Decoder
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.export import NETWORK, export_bundle
from invcomp.lookup import load_bundle

METRICS = ("lpips_alex", "lpips_vgg")


def inputs(
    data: bytes, decoder: Decoder, session: onnxruntime.InferenceSession
) -> dict[str, NDArray[np.int32]]:
    """What the network takes of a file."""
    file = IvcFile.unpack(data)
    found = {
        "integers": decode(file, decoder.bundle.entropy).integers[None],
        "step_index": np.array([file.step_index]),
    }
    detail = decoder.detail_of(file)
    at = 0
    for each in session.get_inputs():
        if each.name.startswith("detail_"):
            count = int(np.prod(each.shape))
            values = np.zeros(count) if detail is None else detail[at : at + count]
            found[each.name] = values.reshape(each.shape)
            at += count
    return {name: values.astype(np.int32) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/half"))
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--originals", type=Path)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.model, aids=False)
    if not (arguments.output / NETWORK).is_file():
        export_bundle(bundle, arguments.output, half=True, force=True)
    session = onnxruntime.InferenceSession(str(arguments.output / NETWORK))
    decoder, metrics = Decoder(bundle, "cpu"), Metrics("cpu", list(METRICS))
    rows: list[dict[str, float]] = []
    for path in arguments.files:
        data = path.read_bytes()
        theirs = decoder.decompress(data)
        ours = Image.fromarray(session.run(None, inputs(data, decoder, session))[0])
        off = np.abs(np.array(ours, int) - np.array(theirs, int))
        pair = tensor_of(theirs), tensor_of(ours)
        row = {"bytes": len(data), "largest": float(off.max()), "mean": float(off.mean())}
        row |= {name: float(metrics.distances(name, *pair)) for name in METRICS}
        if arguments.originals is not None:
            original = tensor_of(
                Image.open(arguments.originals / f"{path.stem.split('_invcomp')[0]}.jpg").convert(
                    "RGB"
                )
            )
            for name in METRICS:
                before, after = (float(metrics.distances(name, original, each)) for each in pair)
                row |= {f"{name} of torch": before, f"{name} change": after - before}
        rows.append(row)
        print(path.name, {name: round(value, 5) for name, value in row.items()}, flush=True)
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name}: mean {mean(values):.5f}, largest {max(values, key=abs):.5f}")


if __name__ == "__main__":
    main()
