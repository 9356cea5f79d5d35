"""Makes pretrained/faces-1024-search.safetensors: the encoder and the short cut of faces-1024.

    python scripts/prepare_search.py runs/pairs
    python scripts/prepare_search.py runs/pairs --keep-encoder

The folder takes the pairs (8,000 pictures of 256 px, 1.6 GB), which `invcomp distill faces-1024
--work runs/pairs` learns from too. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from invcomp.bundle import load_bundle
from invcomp.inversion.aids import SearchAids
from invcomp.training.students import train_aids

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of the pairs and checkpoints")
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--pairs", type=int, default=8000)
    parser.add_argument("--keep-encoder", action="store_true", help="train the short cut alone")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED)
    arguments = parser.parse_args()
    started, said = time.monotonic(), ("", -1)

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal said
        if said != (stage, 20 * done // total):
            said = (stage, 20 * done // total)
            spent = time.monotonic() - started
            print(f"{spent:6.0f} s  {stage} {done}/{total}", file=sys.stderr, flush=True)

    bundle = load_bundle(arguments.model)
    kept = bundle.aids.encoder if arguments.keep_encoder else None
    bundle = replace(bundle, aids=SearchAids(kept))
    compiled, pairs, work = not arguments.no_compile, arguments.pairs, arguments.work
    aided, quality = train_aids(bundle, work, pairs, compiled=compiled, progress=progress)
    path = arguments.output / f"{arguments.model}-search.safetensors"
    aided.aids.save(path, bundle.fingerprint)
    for name, value in quality.items():
        print(f"{name}: {value:.4f}")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
