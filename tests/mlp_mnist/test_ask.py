"""Asking for a number, on a real terminal and without one."""

from __future__ import annotations

import io
import os
import sys

import pytest

from core.errors import UserError
from mlp_mnist.ask import how_many

pty = pytest.importorskip("pty", reason="a terminal to type on; Windows has none of the kind")


def ask_typing(monkeypatch: pytest.MonkeyPatch, typed: bytes, number: int = -1) -> int:
    """What how_many returns when this is typed on a terminal."""
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, typed)
        with open(terminal) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            return how_many(number, "test images", 50)
    finally:
        os.close(keyboard)


@pytest.mark.parametrize(("typed", "number"), [(b"\n", 50), (b"  \n", 50), (b"7\n", 7), (b" 10000 \n", 10000)])
def test_the_number_that_is_typed(monkeypatch, capsys, typed, number):
    assert ask_typing(monkeypatch, typed) == number
    assert capsys.readouterr().out == "How many test images (Enter for 50)? "


@pytest.mark.parametrize("typed", ["0", "-3", "2.5", "many", "1e3", "\u0663"])
def test_an_answer_that_is_no_such_number(monkeypatch, typed):
    with pytest.raises(UserError, match=f"a number of test images is a positive whole number, not '{typed}'"):
        ask_typing(monkeypatch, f"{typed}\n".encode())


def test_the_end_of_the_input_is_no_answer(monkeypatch):
    with pytest.raises(UserError, match="no number of test images was given"):
        ask_typing(monkeypatch, b"\x04")


@pytest.mark.parametrize("number", [0, 1, 400])
def test_nobody_is_asked_for_a_number_that_is_given(monkeypatch, capsys, number):
    assert ask_typing(monkeypatch, b"7\n", number) == number
    assert capsys.readouterr().out == ""


def test_nobody_is_asked_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("7\n"))
    assert how_many(-1, "test images", 50) == 50
    assert capsys.readouterr().out == ""
