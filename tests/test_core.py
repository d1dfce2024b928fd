"""The small parts of core: devices, command line, initial weights, the gradcheck table."""

import errno
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from core import backend, cli, gradcheck, initializers
from core.errors import UserError
from core.layers import Sequences
from core.training.tuning import TuningSettings


@dataclass
class Settings:
    hidden: tuple[int, ...] = (256, 128)
    """Sizes of the hidden layers."""
    activation: Literal["relu", "tanh"] = "relu"
    """Which function."""


@dataclass
class WithPreset(Settings):
    preset: Literal["default", "big"] = "default"
    """The values that all other flags start from."""


def test_settings_come_from_the_command_line():
    assert cli.parse(Settings, ["--hidden", "3", "4", "--activation", "tanh"]) == Settings((3, 4), "tanh")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--activation", "swish"], "swish.*activation.*relu"),
        (["--hiden", "3"], "hiden"),
        (["--hidden", "many"], "hidden.*many"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(UserError, match=message) as caught:
        cli.parse(Settings, arguments)
    assert "\n" not in str(caught.value)
    with pytest.raises(SystemExit) as stop:
        cli.main(lambda settings: None, Settings, arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_list_may_be_emptied_but_not_be_given_as_empty_as_it_was():
    assert cli.parse(Settings, ["--hidden"]).hidden == ()
    with pytest.raises(UserError, match=r"^--sweep takes at least one value$"):
        cli.parse(TuningSettings, ["--sweep", "--epochs", "3"])
    presets = {"default": TuningSettings(), "swept": TuningSettings(sweep=("lr=1,2",))}
    choose = {"presets": presets, "choose_preset": lambda _: "swept"}
    assert cli.parse(TuningSettings, ["--sweep"], **choose).sweep == ()


@dataclass
class EveryKind:
    """A setting of every kind that scripts have."""

    run: str = ""
    """A text."""
    samples: int = 0
    """A number."""
    share: float = 0.5
    """A fraction."""
    quick_look: bool = False
    """A truth value."""
    plots: bool = True
    """Another."""
    held_out: int | None = None
    """What need not be given."""
    words: tuple[str, ...] = ("cat", "dog")
    """Several."""
    table: Path | None = None
    """A file."""
    pair: tuple[Path, Path] | None = None
    """Two files."""


@pytest.mark.parametrize(
    "settings",
    [
        EveryKind(),
        EveryKind(run="my runs/it's", samples=50, share=1e-05, quick_look=True, plots=False),
        EveryKind(samples=-1, held_out=0, words=("hot air balloon",), table=Path("songs.csv")),
        EveryKind(pair=(Path("a.csv"), Path("b.csv"))),
    ],
)
def test_a_command_line_brings_the_settings_back(settings):
    python, script, *flags = shlex.split(cli.command_line(Path("/anywhere/mlp_mnist/test_model.py"), settings))
    assert (python, script) == ("python", "mlp_mnist/test_model.py")
    assert cli.parse(EveryKind, flags) == settings
    assert (settings == EveryKind()) == (flags == [])


def test_a_command_line_tells_nothing_of_this_machine():
    settings = EveryKind(run="mine", samples=3, table=Path("/anywhere/songs.csv"))
    line = cli.command_line(Path("/anywhere/music/setup_data.py"), settings, leave_out=("run",))
    assert line == "python music/setup_data.py --samples 3 --table songs.csv"


def test_help_is_not_an_error(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(lambda settings: None, Settings, ["--help"])
    assert stop.value.code == 0
    assert "Sizes of the hidden layers" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals on Windows")
@pytest.mark.parametrize("width", [40, 120])
def test_a_mistake_is_one_plain_line_on_a_terminal_too(width):
    import pty

    ours, theirs = pty.openpty()
    command, environment = (
        [sys.executable, "mlp_mnist/training.py", "--epochs", "abc"],
        os.environ | {"COLUMNS": str(width)},
    )
    done = subprocess.run(command, env=environment, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)
    problem = "Error parsing --epochs: invalid literal for int() with base 10: 'abc'"
    assert done.stderr == f"error: {problem} (--help lists the settings)\n"
    assert done.returncode == 2


def test_what_does_not_fit_into_memory_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(lambda settings: np.empty((1 << 40, 1 << 10)), Settings, [])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: out of memory: Unable to allocate")


def test_an_output_that_has_no_arrows_gets_question_marks():
    program = "from core import cli\nimport dataclasses\n"
    program += "cli.main(lambda settings: print('a \u2192 b'), dataclasses.make_dataclass('None_', []), [])"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, b"a ? b"), done.stderr


def test_without_tyro_the_line_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    with pytest.raises(SystemExit) as stop:
        cli.main(lambda settings: None, Settings, [])
    assert stop.value.code == 2
    assert "pip install -e ." in capsys.readouterr().err


def test_main_exits_with_what_the_function_returns():
    for returned, code in ((None, 0), (130, 130)):
        with pytest.raises(SystemExit) as stop:
            cli.main(lambda settings, returned=returned: returned, Settings, [])
        assert stop.value.code == code


def test_ctrl_c_is_not_a_traceback(capsys):
    def interrupted(settings):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        cli.main(interrupted, Settings, [])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
@pytest.mark.parametrize(("path", "where"), [("runs/a", "runs/a: "), (None, "")])
def test_a_disk_that_refuses_is_one_line(capsys, code, path, where):
    def refused(settings):
        raise OSError(code, os.strerror(code), path)

    with pytest.raises(SystemExit) as stop:
        cli.main(refused, Settings, [])
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {where}{os.strerror(code)}\n"


def test_a_name_that_is_taken_is_the_one_that_is_told(capsys, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "old").touch()
    assert cli.guarded(lambda: os.replace(tmp_path / "old", tmp_path / "new")) == cli.USAGE_ERROR
    assert capsys.readouterr().err == f"error: {tmp_path / 'new'}: {os.strerror(errno.EISDIR)}\n"


def test_other_errors_of_the_system_keep_their_traceback():
    def mistaken(settings):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "a")

    with pytest.raises(FileNotFoundError):
        cli.main(mistaken, Settings, [])


def test_a_closed_pipe_is_not_a_traceback():
    code = (
        "from dataclasses import dataclass; from core.cli import main\n"
        "main(lambda settings: print('line\\n' * 1_000_000), dataclass(type('Settings', (), {})), [])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("arguments", [["-m", "core.gradcheck"], ["mlp_mnist/training.py", "--help"]])
def test_nor_is_one_that_is_closed_from_the_start(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, *arguments], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(("arguments", "hidden"), [([], (256, 128)), (["--preset", "big"], (9,))])
def test_a_preset_gives_the_values_to_start_from(arguments, hidden):
    presets = {"default": WithPreset(), "big": WithPreset(preset="big", hidden=(9,), activation="tanh")}
    settings = cli.parse(WithPreset, [*arguments, "--activation", "relu"], presets=presets)
    assert (settings.hidden, settings.activation) == (hidden, "relu")


def test_an_unknown_preset_is_refused():
    with pytest.raises(UserError, match=r"huge.*preset"):
        cli.parse(WithPreset, ["--preset", "huge"], presets={"default": WithPreset()})


@pytest.mark.parametrize(("arguments", "hidden"), [([], (256, 128)), (["--activation", "tanh"], (9,))])
def test_another_flag_may_choose_the_preset(arguments, hidden):
    presets = {"relu": WithPreset(), "tanh": WithPreset(hidden=(9,))}
    settings = cli.parse(
        WithPreset, arguments, presets=presets, choose_preset=lambda given: cli.flag_of(given, "activation", "relu")
    )
    assert settings.hidden == hidden


def test_arrays_say_where_they_live():
    x = np.zeros(3)
    assert backend.array_module(x) is np
    assert backend.device_of(x) == "cpu"
    assert backend.to_cpu(x) is x
    assert backend.to_device(x, "cpu") is x
    assert backend.to_device(x, "cpu", np.float32).dtype == np.float32


def test_what_is_no_array_is_said_to_be_none():
    """Instead of that CuPy is missing, without which there can be no array of it."""
    for other in ([1.0, 2.0], None, Sequences.pack(np.ones((3, 2)), [2, 1])):
        with pytest.raises(TypeError, match=f"expected an array of NumPy or CuPy, got {type(other).__name__}"):
            backend.array_module(other)
        with pytest.raises(TypeError, match="expected an array"):
            backend.device_of(other)


def test_asking_for_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(backend, "why_no_gpu", lambda: "CuPy is not installed")
    assert backend.select_device("auto") == "cpu"
    assert backend.select_device("cpu") == "cpu"
    with pytest.raises(UserError, match="--device gpu: CuPy is not installed"):
        backend.select_device("gpu")


@pytest.mark.parametrize("name", ["he_normal", "he_uniform", "glorot_normal", "glorot_uniform"])
def test_initial_weights_have_the_promised_variance(name):
    weights = getattr(initializers, name)(np.random.default_rng(0), (400, 200), 400, 200, np.float32)
    variance = 2 / 400 if name.startswith("he") else 2 / 600
    assert weights.dtype == np.float32
    assert weights.var() == pytest.approx(variance, rel=0.02)
    assert abs(weights.mean()) < 0.001
    if name.endswith("uniform"):
        assert np.abs(weights).max() <= np.sqrt(3 * variance)


def test_gradcheck_prints_a_table_and_fails_when_a_gradient_is_wrong(capsys, monkeypatch):
    assert gradcheck.main() == 0
    table = capsys.readouterr().out
    assert "BatchNorm, images" in table
    assert "WRONG" not in table
    monkeypatch.setattr(gradcheck, "TOLERANCE", 0.0)
    assert gradcheck.main() == 1
    assert "WRONG" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code", "said"), [([], 0, "softmax cross-entropy"), (["--layer"], 2, "--layer")])
def test_gradcheck_runs_as_a_module(words, code, said):
    command = [sys.executable, "-m", "core.gradcheck", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr
    assert said in (result.stderr if code else result.stdout)
