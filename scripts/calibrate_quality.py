"""Gives a model that ships its table of qualities: which steps reach which LPIPS.

    python scripts/calibrate_quality.py faces-1024 PORTRAITS/

PORTRAITS holds photographs in the model's frame that are in no benchmark. Each is coded at every
step of MEASURED_STEPS (invcomp/preparation.py). A killed run goes on by the lines of MODEL.jsonl in
the output folder. Then the table is printed and written into the settings of the model's file in
pretrained/; the tensors of that file, and its fingerprint, stay as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from invcomp.bundle import Settings, load_bundle, read_metadata
from invcomp.cli.pictures import readable_suffixes
from invcomp.files import atomic_write
from invcomp.generators.hub import KNOWN_MODELS
from invcomp.inversion.options import SearchOptions
from invcomp.inversion.quality import QUALITIES, lpips_of
from invcomp.preparation import calibrate_quality


def write_settings(path: Path, settings: Settings) -> None:
    """Other settings in a bundle's file, and the same tensors."""
    metadata = {**read_metadata(path), "settings": json.dumps(asdict(settings))}
    tensors = load_file(path)
    with atomic_write(path, force=True) as temporary:
        save_file(tensors, temporary, metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=KNOWN_MODELS)
    parser.add_argument("photographs", type=Path, help="a folder of them")
    parser.add_argument("--fast", action="store_true", help="code them with the fast search")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/quality"))
    arguments = parser.parse_args()
    photographs = sorted(
        path for path in arguments.photographs.iterdir() if path.suffix in readable_suffixes()
    )
    if not photographs:
        parser.error(f"{arguments.photographs}: no picture in this folder")
    started = time.monotonic()
    bundle = calibrate_quality(
        load_bundle(arguments.model),
        photographs,
        arguments.output / f"{arguments.model}.jsonl",
        lambda stage, done, total: print(
            f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}",
            file=sys.stderr,
            flush=True,
        ),
        compiled=None,
        search=SearchOptions(fast=arguments.fast),
    )
    for index, lpips in bundle.settings.made["quality"]["lpips"].items():
        print(f"step index {index}: LPIPS {lpips:.4f}")
    for quality, step in zip(QUALITIES, bundle.settings.quality_steps, strict=True):
        print(f"quality {quality}: LPIPS {lpips_of(quality):.4f}, step index {step}")
    path = KNOWN_MODELS[arguments.model].prepared
    write_settings(path, bundle.settings)
    print(f"{path}: written, fingerprint {bundle.fingerprint.hex()[:8]} as before")


if __name__ == "__main__":
    main()
