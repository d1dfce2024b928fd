"""How Gradio is imported."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

# A program that tells for how many of its components Gradio has looked for the source, which precedes a type stub.
COUNT = """
import inspect
from pathlib import Path

read = []
original = Path.read_text
Path.read_text = lambda path, *given, **named: read.append(path) or original(path, *given, **named)
getfile = inspect.getfile
{}
assert inspect.getfile is getfile
assert gradio.__file__ == inspect.getfile(gradio)
print(sum(path.parent.name == "components" for path in read))
"""


def components_read(importing: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT.format(importing)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs Gradio")
def test_gradio_writes_no_type_stubs_when_a_demo_starts():
    assert components_read("import gradio") > 20, "Gradio no longer does it: core.demo.launch need not prevent it"
    assert components_read("from core.demo.launch import require_gradio; gradio = require_gradio()") == 0
