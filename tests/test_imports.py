"""Imports go down only, heavy packages stay in their corner, and `import core` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ("mlp_mnist", "cnn_mnist100", "rnn_doodles", "music_cuda", "emnist", "cifar")

# A module may import from its own level and from those above it in this list.
LEVELS = (
    ("core.checks", "core.errors"),
    ("core.backend", "core.blas", "core.cli", "core.cores", "core.fastest", "core.files"),
    ("core.kernels", "core.memory", "core.random", "core.workers", "core.workspaces"),
    ("core.ops", "core.params"),
    ("core.initializers", "core.layers", "core.losses", "core.muon", "core.optim", "core.schedules"),
    ("core.frozen", "core.predict", "core.gradcheck"),
    ("core.data", "core.training", "core.report"),
    ("core.demo",),
)

# Package -> the only files that may import it.
CORNERS = {
    "cupy": ("core/backend.py", "core/kernels/*", "core/ops/gpu/*"),
    "cupyx": ("core/backend.py", "core/kernels/*", "core/ops/gpu/*"),
    "gradio": ("core/demo/*", "*/app.py"),
    "matplotlib": ("core/report/*",),
    "PIL": ("core/data/*", "core/report/*", "core/demo/*"),
    "pandas": ("music_cuda/setup_data.py",),
    "torch": ("*/training_torch.py",),  # the same network in PyTorch, for comparison
}
FRAMEWORKS = ("tensorflow", "keras", "jax", "sklearn", "onnx", "onnxruntime", "tinygrad", "mxnet", "autograd")
UNSAFE = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
HEAVY = ("pandas", "matplotlib", "gradio", "PIL", "tyro", "requests", "cupy", "torch", "scipy")

LIBRARY = sorted(path for folder in ("core", *PROJECTS) for path in (ROOT / folder).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    """Every module that a source imports, also late or by `import_module("name")`, as dotted names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.Constant):
                yield str(first.value)


def level(module: str) -> int:
    """The level of a core module; what has no place in `LEVELS`, such as `core` itself, is above all others."""
    for number, names in enumerate(LEVELS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    return len(LEVELS)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def complaints(path: str, source: str) -> list[str]:
    """What is wrong with the imports of the file `path`, relative to the root."""
    found = []
    top = path.split("/")[0]
    for module in imported(source):
        package = module.split(".")[0]
        if package in CORNERS and not any(fnmatch(path, pattern) for pattern in CORNERS[package]):
            found.append(f"{package} belongs in {', '.join(CORNERS[package])}")
        if package in (*FRAMEWORKS, *UNSAFE):
            found.append(f"{package} has no place here")
        if module.endswith(".training_torch") and not path.endswith("/test_model.py"):
            found.append("the comparison in PyTorch is there to be measured, by test_model.py, and for nothing else")
        if package in (*PROJECTS, "scripts", "tests") and package != top:
            found.append(f"{top} must not know {package}")
        if package == top == "core" and level(module) > level(module_name(path)):
            found.append(f"{module} is above {path}")
    return found


def test_every_module_of_core_has_a_place():
    modules = {module_name(path.relative_to(ROOT).as_posix()) for path in LIBRARY if path.is_relative_to(ROOT / "core")}
    assert {module for module in modules if level(module) == len(LEVELS)} == {"core"}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_down_only(path):
    assert complaints(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/params.py", "from core.layers import Linear"),
        ("core/backend.py", "import core.ops.cpu"),
        ("core/report/plots.py", "from core.demo import canvas"),
        ("core/layers/base.py", "from core import predict"),
        ("core/layers/base.py", "from core.frozen import freeze"),
        ("core/layers/conv.py", "def f():\n    import cupy"),
        ("core/layers/conv.py", "import importlib\nimportlib.import_module('cupy.cuda')"),
        ("core/training/run.py", "import matplotlib.pyplot as plt"),
        ("core/data/fetch.py", "import gradio"),
        ("core/data/fetch.py", "import pickle"),
        ("core/losses.py", "from torch import nn"),
        ("core/losses.py", "import jax"),
        ("cifar/training.py", "from cifar import training_torch"),
        ("core/losses.py", "from mlp_mnist.model import build"),
        ("cifar/model.py", "from mlp_mnist import model"),
        ("cifar/training.py", "from scripts import machine"),
    ],
)
def test_the_rule_catches(path, source):
    assert len(complaints(path, source)) == 1


def test_the_rule_allows_what_it_should():
    assert complaints("core/report/plots.py", "from matplotlib.figure import Figure\nfrom PIL import Image") == []
    assert complaints("core/layers/linear.py", "import numpy as np\nfrom core.params import Parameter") == []
    assert complaints("cifar/app.py", "import gradio\nfrom core import predict\nfrom cifar import model") == []


def test_import_core_is_light():
    code = f"import core, sys; print(sorted(set({HEAVY}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
