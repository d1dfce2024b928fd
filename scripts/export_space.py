#!/usr/bin/env python3
"""Write a demo as a folder that can be pushed to Hugging Face as a Space, and that starts anywhere.

    python scripts/export_space.py mlp_mnist ~/my-space                    # with the newest run
    python scripts/export_space.py mlp_mnist ~/my-space --run mnist-best
    cd ~/my-space && pip install -r requirements.txt && python app.py      # needs nothing but this folder

It holds `core`, the project, its weights and their report, a README.md with the Space's settings, and requirements.txt
with the versions installed here; no data set. An earlier export is replaced as a whole, but the `.git` of a clone of
the Space stays: commit and push. Or push it with `hf upload USER/NAME ~/my-space --repo-type space`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import environment
from scripts.environment import CONSTRAINTS, ROOT, SetupError, say, shown
from scripts.projects import BY_NAME, VARIANTS, Demo, Model, find_model
from scripts.space.folder import MADE_BY, replaced_by
from scripts.space.readme import GIT_ATTRIBUTES, front_matter, readme

SOURCES = (".py", ".typed", ".html", ".css", ".js", ".cu", ".cuh", ".h", ".md")
NEVER = ("archive", "runs", "__pycache__")  # data, weights, and what Python compiled
EXTRAS = {"music_cuda": ("demo", "audio")}  # of pyproject.toml, for the demo alone


def main() -> int:
    arguments = _arguments()
    try:
        from core.errors import UserError
    except ImportError as error:
        raise SetupError(f"{error}; install the project first: pip install -e '.[demo]' -c constraints.txt") from error
    try:
        folder = export(arguments.project, arguments.dest, arguments.run, arguments.force)
    except UserError as error:
        raise SetupError(str(error)) from error
    size = sum(path.stat().st_size for path in folder.rglob("*") if ".git" not in path.parts and path.is_file())
    say(f"{shown(folder)} is ready ({size / 1e6:.1f} MB): pip install -r requirements.txt && python app.py")
    return 0


def export(project: str, dest: Path, run: str = "", force: bool = False) -> Path:
    """Write the demo of `project` with the weights of `run` (or the newest) as the folder `dest`, which is returned.

    Raises SetupError or core.errors.UserError; whatever goes wrong, what was at `dest` stays.
    """
    demo = BY_NAME.get(project)
    if demo is None:
        raise SetupError(f"there is no project {project!r}; there are {', '.join(BY_NAME)}")
    model = find_model(demo, run)
    demo = demo_for(demo, model)
    pins = requirements(project)
    with replaced_by(dest, force) as new:
        copy(ROOT / "core", new / "core", is_source)
        copy(demo.folder, new / project, is_source)
        copy_run(model, new / project / "runs" / model.weights.parent.name)
        write_pages(new, demo, model, pins)
        shutil.copyfile(ROOT / "LICENSE", new / "LICENSE")
        shutil.copyfile(ROOT / "scripts" / "space" / "app.py", new / "app.py")
    if model.notice:
        say(f"note: the Space will show this everywhere: {model.notice}")
    if model.report is None:
        say("note: these weights have not been measured, and the Space will say so: run test_model.py, then this again")
    return dest


def demo_for(demo: Demo, model: Model) -> Demo:
    """What the project's demo is like with this network; SetupError when it has none for its data set."""
    dataset = model.metadata["data"]["dataset"]
    for candidate in (demo, *VARIANTS):
        if (candidate.project, candidate.dataset) == (demo.project, dataset):
            return candidate
    raise SetupError(f"{shown(model.weights.parent)} was trained on {dataset}, which this demo does not show")


def copy(source: Path, target: Path, wanted: Callable[[Path], bool]) -> None:
    """Copy the files that are wanted, and of the folders below those in which there are any."""
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or path.name in NEVER:
            continue
        if path.is_dir():
            copy(path, target / path.name, wanted)
        elif wanted(path):
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.name)


def is_source(path: Path) -> bool:
    """Whether a file of `core` or a project belongs to the program."""
    return path.suffix in SOURCES or path.name == "demo.png"


def copy_run(model: Model, target: Path) -> None:
    """Copy the best weights, the settings, and the report, if it is on these weights."""
    source = model.weights.parent
    copy(source, target, lambda path: path in (model.weights, source / "config.json"))
    if model.report is not None:
        copy(source / "report", target / "report", lambda path: True)


def write_pages(new: Path, demo: Demo, model: Model, pins: dict[str, str]) -> None:
    """Write what is not copied; space.json is what app.py checks, and what tells that the folder is an export."""
    weights = new / demo.project / "runs" / model.weights.parent.name / model.weights.name
    space = {
        "made_by": MADE_BY,
        "project": demo.project,
        "run": weights.parent.name,
        "weights": weights.relative_to(new).as_posix(),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "notice": model.notice,
    }
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pages = {
        "space.json": json.dumps(space, indent=1, ensure_ascii=False) + "\n",
        "README.md": front_matter(demo, pins["gradio"], python) + "\n" + readme(demo, model, space["sha256"]),
        "requirements.txt": "".join(f"{name}=={version}\n" for name, version in pins.items()),
        ".gitattributes": GIT_ATTRIBUTES,
        ".gitignore": "__pycache__/\n.gradio/\n",
    }
    for name, text in pages.items():
        (new / name).write_text(text, encoding="utf-8")


def requirements(project: str) -> dict[str, str]:
    """What the demo needs, by name, at the version installed here; else at the one that constraints.txt names.

    Neither CuPy nor PyTorch is among it: a Space has no GPU unless it is paid for, and the demo needs none.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # tomllib came with Python 3.11
    lists = ["dependencies", *EXTRAS.get(project, ("demo",))]
    blocks = [re.search(rf"^{name} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL) for name in lists]
    names = [name for block in blocks if block for name in re.findall(r'"([\w-]+)[<>=]', block[1])]
    return {name: version_of(name) for name in names}


def version_of(name: str) -> str:
    """The version of a package, as `requirements` says."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        tested = re.search(rf"^{name}==([\w.]+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    if tested is None:
        raise SetupError(f"{name} is not installed, so that no version of it can be named: pip install {name}")
    return tested[1]


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("project", metavar="PROJECT", help=f"one of {', '.join(BY_NAME)}")
    parser.add_argument("dest", metavar="DEST", type=Path, help="the folder to write")
    parser.add_argument("--run", default="", help="name or folder of the run (the newest)")
    parser.add_argument("--force", action="store_true", help="replace DEST even if it is no earlier export")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
