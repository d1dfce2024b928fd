"""The operations for the two devices have the same names and take the same arguments."""

from __future__ import annotations

import inspect

import pytest

from core.ops import cpu, gpu


def operations(module):
    return {
        name: function
        for name, function in vars(module).items()
        if callable(function) and not inspect.isclass(function) and not name.startswith("_")
    }


def test_the_names_are_the_same():
    assert operations(cpu).keys() == operations(gpu).keys()


@pytest.mark.parametrize("name", sorted(operations(cpu).keys() & operations(gpu).keys()))
def test_the_arguments_are_the_same(name):
    ours, theirs = (list(inspect.signature(getattr(module, name)).parameters.values()) for module in (gpu, cpu))
    assert [p.name for p in ours[: len(theirs)]] == [p.name for p in theirs]
    assert all(p.default is not inspect.Parameter.empty for p in ours[len(theirs) :])  # what a GPU takes besides
