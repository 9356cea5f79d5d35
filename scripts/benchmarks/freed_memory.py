"""Measures what keeping freed memory does to an iteration of the search on a CPU, at 1024 px.

    OMP_NUM_THREADS=1 python scripts/benchmarks/freed_memory.py

Not compiled. Each way runs in a process of its own. Prints a table of processor time, that
of the system in it, page faults, and peak memory: means of --iterations.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

from invcomp.device import keep_freed_memory

WAYS = {"returned": "given back to the system", "kept": "kept by the process"}


def iterations(count: int) -> dict[str, float]:
    """Figures of an iteration in this process."""
    from invcomp.inversion.distortion import Distortion
    from invcomp.lookup import load_bundle
    from invcomp.measurement import perceptual_features

    bundle = load_bundle("faces-1024")
    features = perceptual_features(bundle.settings, bundle.resolution)
    distortion = Distortion(bundle.generator, features, mixed=False, compiled=False)
    latents = bundle.coordinates.means().requires_grad_()

    def iterate() -> None:
        distortion.features_of(latents).square().sum().backward()

    iterate()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(count):
        iterate()
    after = resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "seconds": (system + after.ru_utime - before.ru_utime) / count,
        "system": system / count,
        "faults": (after.ru_minflt - before.ru_minflt) / count,
        "peak": after.ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--way", choices=WAYS, help="in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.way is not None:
        if arguments.way == "kept":
            keep_freed_memory()
        print(json.dumps(iterations(arguments.iterations)))
        return
    print(
        "| freed memory | s | of it system | page faults | peak memory, MB |\n|---|---|---|---|---|"
    )
    for way, label in WAYS.items():
        command = [sys.executable, __file__, "--way", way]
        command += ["--iterations", str(arguments.iterations)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        print(
            f"| {label} | {found['seconds']:.2f} | {found['system']:.2f} | "
            f"{found['faults']:,.0f} | {found['peak']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
