"""Every command that a README or a script's own description names exists, and understands the flags it is given."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core import cli
from core.errors import UserError
from scripts.environment import SetupError

ROOT = Path(__file__).resolve().parent.parent
READS_FLAGS = re.compile(r"from core\.cli import main\b|Parser\(__doc__|argparse\.ArgumentParser\(")
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("*/*.py")
    if path.parent.name not in ("core", "tests") and READS_FLAGS.search(path.read_text(encoding="utf-8"))
)
PROJECTS = sorted({script.split("/")[0] for script in SCRIPTS} - {"scripts"})
READMES = ["README.md", *(f"{project}/README.md" for project in PROJECTS)]
INSTALLERS = ("pip", "venv")
PLACEHOLDER = re.compile(r"[A-Z_.]+$|.*(<|>|\||\[|\.\.\.)")


class Command(NamedTuple):
    """A call of one of our scripts, and where it is written."""

    page: str
    script: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join((self.script, *self.words))}"


class Reading(NamedTuple):
    """What a script made of its command line."""

    understood: bool
    flags: frozenset[str]
    """All that it knows."""


class DoneError(Exception):
    """Ends a script that has read its command line."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading


def read_settings(function: Any, settings: type, arguments: None = None, description: str = "", **presets: Any) -> None:
    """What stands in for `core.cli.main`."""
    names = [field.name.replace("_", "-") for field in dataclasses.fields(settings)]
    flags = frozenset(["--help", *(f"--{name}" for name in names), *(f"--no-{name}" for name in names)])
    try:
        cli.parse(settings, None, description, **presets)
    except UserError:
        raise DoneError(Reading(False, flags)) from None
    except SystemExit:  # --help
        pass
    raise DoneError(Reading(True, flags))


@functools.cache
def read(script: str, words: tuple[str, ...] = ()) -> Reading:
    """Let the script read its command line, and do nothing of its work."""
    if script.endswith("training_torch.py") and importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    how = "parse_known_args" if script == "scripts/run_tests.py" else "parse_args"
    parse = getattr(argparse.ArgumentParser, how)

    def read_arguments(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        """What stands in for argparse's method."""
        flags = frozenset(parser._option_string_actions)
        try:
            parse(parser, *arguments)
        except SetupError:
            raise DoneError(Reading(False, flags)) from None
        except SystemExit:  # --help
            pass
        raise DoneError(Reading(True, flags))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "main", read_settings)
        patch.setattr(argparse.ArgumentParser, how, read_arguments)
        patch.setattr(sys, "argv", [script, *words])
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(os, "environ", os.environ.copy())
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except DoneError as done:
            return done.reading
    raise AssertionError(f"{script} read no command line")


def commands_in(page: str, text: str) -> Iterator[Command]:
    """The calls of our scripts in a text: in a line of their own, or between back-quotes, there also without python."""
    for found in re.findall(r"(?:^|[` ])python3? ([^`\n]+)|`(\w[\w/]*\.py[^`\n]*)`", text, re.MULTILINE):
        words = shlex.split("".join(found).replace("'", " "), comments=True)
        if words[0] == "-m" and words[1] not in INSTALLERS:
            words = [words[1].replace(".", "/") + ".py", *words[2:]]
        if not words[0].endswith(".py"):
            continue
        here = f"{page.split('/')[0]}/{words[0]}"  # a project's page need not name its folder
        script = here if page != "README.md" and (ROOT / here).exists() else words[0]
        if "/" in script:
            yield Command(page, script, tuple(word for word in words[1:] if word != "..."))


def description(script: str) -> str:
    """What stands at the head of a script."""
    return re.split(r'"""', (ROOT / script).read_text(encoding="utf-8"))[1]


TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in READMES}
COMMANDS = [command for page, text in TEXTS.items() for command in commands_in(page, text)]
COMMANDS += [command for script in SCRIPTS for command in commands_in(script, description(script))]
SNIPPETS = [(page, found) for page, text in TEXTS.items() for found in re.findall(r"(?<!`)`(--[^`]+)`", text)]


@pytest.mark.parametrize(
    ("script", "words", "understood"),
    [
        ("mlp_mnist/training.py", "--preset best --epochs 3", True),
        ("mlp_mnist/training.py", "--preset better", False),
        ("mlp_mnist/training.py", "--filters 16", False),
        ("cifar/setup_data.py", "--dataset mnist", True),
        ("cifar/setup_data.py", "--dataset mnits", False),
        ("scripts/quickstart.py", "--at-least 98", True),
        ("scripts/quickstart.py", "--at-most 98", False),
        ("scripts/run_tests.py", "--with audio -k anything", True),
        ("scripts/run_tests.py", "--with cupy", False),
    ],
)
def test_what_a_script_does_not_understand_is_noticed(script, words, understood):
    assert read(script, tuple(words.split())).understood == understood


def test_there_are_commands():
    assert {command.script for command in COMMANDS} >= {f"{name}/training.py" for name in PROJECTS}
    assert len(SNIPPETS) > 50


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_that_is_written_down_is_understood(command):
    script, words = command.script, command.words
    assert (ROOT / script).exists()
    assert [word for word in words if word.startswith("tests/") and not (ROOT / word).exists()] == []
    if script == "scripts/launch.py" and words and words[0] in PROJECTS:  # the rest is for that demo
        script, words = f"{words[0]}/app.py", words[1:]
    if any(PLACEHOLDER.match(word) for word in words):
        flags = {word for word in words if word.startswith("--")}
        assert not flags or flags <= read(script).flags
    elif words:
        assert read(script, words).understood


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_flags_that_are_written_down_exist(page, snippet):
    """A snippet such as "--preset best" is for some script of the project that the page is about."""
    words = tuple(shlex.split(snippet))
    flags = {word.split("=")[0] for word in words if word.startswith("--")}
    scripts = [name for name in SCRIPTS if page == "README.md" or name.split("/")[0] in (page.split("/")[0], "scripts")]
    scripts = [script for script in scripts if flags <= read(script).flags]
    assert scripts
    with_values = len(words) > len(flags) and not words[-1].startswith("--")
    if with_values and not any(PLACEHOLDER.match(word) for word in words):
        assert any(read(script, words).understood for script in scripts)
