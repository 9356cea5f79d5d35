"""Makes the search aids of faces-1024 and its proxy, faces-128.

    python scripts/assets/prepare_search.py runs/pairs
    python scripts/assets/prepare_search.py runs/pairs --only aids --keep-encoder
    python scripts/assets/prepare_search.py runs/pairs --only proxy --steps 700

Writes pretrained/faces-1024-search.safetensors (encoder network and surrogate) and
pretrained/faces-128.safetensors (the proxy, with the encoder network of faces-1024). The folder is
for the pairs (8,000 images of 256 px, 1.6 GB). A stopped run continues when it is started again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

from invcomp.distilled.aids import SearchAids
from invcomp.lookup import load_bundle
from invcomp.training.distillation import train_aids
from invcomp.training.proxy import distill

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
PROXY = "faces-128"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for pairs and checkpoints")
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--pairs", type=int, default=8000)
    parser.add_argument("--only", choices=("aids", "proxy"))
    parser.add_argument("--steps", type=int, help="training steps of the proxy")
    parser.add_argument("--keep-encoder", action="store_true", help="train only the surrogate")
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
    compiled, pairs, work = not arguments.no_compile, arguments.pairs, arguments.work
    if arguments.only != "proxy":
        kept = bundle.aids.encoder if arguments.keep_encoder else None
        bare = replace(bundle, aids=SearchAids(kept))
        aided, quality = train_aids(bare, work, pairs, compiled=compiled, progress=progress)
        path = arguments.output / f"{arguments.model}-search.safetensors"
        aided.aids.save(path, bundle.fingerprint)
        for name, value in quality.items():
            print(f"{name}: {value:.4f}")
        print(f"{path}: {path.stat().st_size:,} bytes")
    if arguments.only != "aids":
        path = arguments.output / f"{PROXY}.safetensors"
        bare, steps = replace(bundle, aids=SearchAids()), arguments.steps
        _, lpips = distill(
            bare, path, 128, pairs, steps, work, compiled=compiled, progress=progress
        )
        print(f"LPIPS of the proxy against {arguments.model}: {lpips:.4f}")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
