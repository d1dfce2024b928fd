"""A thousand values that nobody draws, for the parser of drawings and for the handlers of the four drawing demos."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path

import pytest

from core.demo.strokes import parse_strokes
from core.errors import UserError
from scripts import bench_apps
from scripts.visit import hostile

TESTS = Path(__file__).resolve().parent.parent
TINY = {"mlp_mnist": "tiny_run", "cnn_mnist100": "tiny_pairs", "rnn_doodles": "tiny_doodles", "emnist": "tiny_emnist"}
VALUES = list(hostile.values(1000, seed=0))


def parses(value: object) -> bool:
    try:
        return bool(parse_strokes(value, 280, 280))
    except UserError as error:
        complaint = str(error)
    assert "\n" not in complaint
    return False


def test_the_values_are_of_all_kinds():
    assert list(map(repr, VALUES)) == list(map(repr, hostile.values(1000, seed=0))), "the same seed, the same values"
    drawings = sum(parses(value) for value in VALUES)
    assert 150 < drawings < 600, "some reach the network, most do not"
    assert sum(not isinstance(value, str) for value in VALUES) > 40
    assert all(json.loads(json.dumps(value)) is not ... for value in VALUES), "each can be sent to a server"


def test_each_kind_of_value_is_refused_or_drawn():
    for kind in (hostile.drawing, hostile.crowded, hostile.misspelt, hostile.broken_drawing):
        answers = {parses(kind(random.Random(seed))) for seed in range(200)}
        assert answers == {True, False}, kind.__name__
    for kind in (hostile.cut, hostile.anything, hostile.no_text, hostile.brackets):
        assert not any(parses(kind(random.Random(seed))) for seed in range(200)), kind.__name__


@pytest.mark.parametrize("project", TINY)
def test_no_value_crashes_a_demo(project, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(TESTS / project)
    run = importlib.import_module(TINY[project]).make_run(tmp_path / "run")
    answer, *_ = bench_apps.DEMOS[project](str(run))
    for value in VALUES:
        shown = answer(value)
        text = shown if isinstance(shown, str) else "".join(part for part in shown if isinstance(part, str))
        assert 'class="bn-' in text, value
        assert "<script" not in text
        assert "onerror" not in text
