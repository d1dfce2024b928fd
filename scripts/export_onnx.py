#!/usr/bin/env python3
"""Write a trained network of any of the projects as an ONNX model, which other programs run without this project.

    pip install -e ".[export]" -c constraints.txt
    python scripts/export_onnx.py mlp_mnist/runs/mnist-default            # writes best.onnx beside the weights
    python scripts/export_onnx.py cifar/runs/cifar10-fast --out net.onnx --check 1000

The graph takes what a user has at hand, images with values from 0 to 1, and normalises by itself; any number of samples
goes in at once. Its outputs are the network's logits and the probabilities. What goes in and comes out, the classes,
the measured accuracy, the notice and the licence of the data stand in the file: `doc_string` and `metadata_props`.

Before the file takes its name, ONNX Runtime runs it on random samples beside our own network; --check does so on the
first N test samples too, of which it reads no labels. Both must agree but for rounding: 1e-5 of the probabilities.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import ROOT, SetupError, say

RANDOM_SAMPLES = 32


def main() -> int:
    arguments = _arguments()
    if arguments.check < 0:
        raise SetupError(f"--check {arguments.check}: expected a number of test samples")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        from core.errors import UserError
    except ModuleNotFoundError as error:
        raise SetupError(f'{error.name} is missing: pip install -e ".[export]" -c constraints.txt') from error
    try:
        export(arguments.checkpoint, arguments.out, arguments.check, arguments.data)
    except UserError as error:
        raise SetupError(str(error)) from error
    return 0


def export(checkpoint: Path, out: Path | None = None, check: int = 0, data: Path | None = None) -> Path:
    """Write the network of a run folder or a file of weights to `out`, by default beside it; returns that path.

    check: also compare on so many test samples of the prepared data `data`, by default the project's. Raises UserError
    where there is no such network or data, or the exported network answers otherwise than ours.
    """
    import numpy as np

    from core.errors import UserError
    from core.training.files import write_checked
    from core.training.find import BEST
    from scripts.onnx_export.model import compare, make_model, session_of
    from scripts.onnx_export.projects import load

    weights = checkpoint / BEST if checkpoint.is_dir() else checkpoint
    path = out or weights.with_suffix(".onnx")
    if path.suffix == weights.suffix:
        raise UserError(f"--out {path} would take the place of weights; give a name that ends in .onnx")
    project, trained = load(weights)
    model = make_model(project, trained).SerializeToString(deterministic=True)
    session = session_of(model)
    if trained.notice:
        say(f"*** {trained.notice} ***")
    trials = {"random": project.input.random(trained, RANDOM_SAMPLES, np.random.default_rng(0))}
    if check:
        folder = data or ROOT / project.name / "archive" / trained.dataset
        trials["test"] = project.input.tested(trained, folder, check)
    for kind, samples in trials.items():
        difference = compare(session, project, trained, samples)
        say(f"{difference.samples:,} {kind} samples: {difference}")
        if not difference.is_rounding:
            raise UserError(f"the exported network answers otherwise than {weights}; nothing was written")
    write_checked(path, model)
    say(f"{environment.shown(path.resolve())}: {len(model):,} bytes, {trained.architecture}")
    return path


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("checkpoint", type=Path, help="a run folder, such as emnist/runs/cnn, or a file of weights")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write; best.onnx beside the weights")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="compare on N test samples too")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="their prepared data, if not <project>/archive")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
