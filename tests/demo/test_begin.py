"""The way from no model to a small one: what is run, what the page shows of it, who may start it, and how it ends."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from core.demo import begin_page
from core.demo.begin import Beginning, Plan, Progress
from core.demo.launch import LaunchSettings
from core.demo.serve import is_private
from core.training.progress import Progress as TrainingProgress

PROJECTS = ("mlp_mnist", "cnn_mnist100", "rnn_doodles", "music_cuda", "emnist", "cifar")
PATIENCE = 20.0  # seconds until a script of three lines must have ended, on however busy a machine
WRITE = """
import sys, pathlib
log = pathlib.Path(__file__).parent / "log"
with log.open("a") as file:
    file.write(pathlib.Path(__file__).name + " " + " ".join(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def project(tmp_path):
    """A project whose scripts only write down how they were called."""
    folder = tmp_path / "project"
    folder.mkdir()
    for script in ("setup_data.py", "training.py", "test_model.py"):
        (folder / script).write_text(WRITE)
    return folder


@pytest.fixture
def plan(project):
    return Plan(project, "digits", "Digits", 10.0, "stand-ins", small=("--epochs", "2"), choose=("--dataset", "digits"))


def ended(beginning: Beginning) -> Progress:
    """The progress once nothing runs any more."""
    until = time.monotonic() + PATIENCE
    while beginning.progress.phase == "running" and time.monotonic() < until:
        time.sleep(0.02)
    return beginning.progress


def wait_until(holds) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def calls(project: Path) -> list[str]:
    return (project / "log").read_text().splitlines()


def test_real_data_is_fetched_trained_on_and_measured(project, plan):
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        assert ended(beginning).phase == "trained"
        assert beginning.trained.is_set()
        assert beginning.progress.whole == 1.0
        beginning.start(synthetic=False)  # there is a model: nothing is left to do
        assert beginning.progress.phase == "trained"
    assert calls(project) == [
        "setup_data.py --dataset digits",
        "training.py --dataset digits --epochs 2 --name first",
        "test_model.py --run first",
    ]


def test_synthetic_data_stays_apart_from_real_data(project, plan):
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=True)
        assert ended(beginning).phase == "trained"
    folder = project / "archive" / "digits-synthetic"
    assert calls(project) == [
        f"setup_data.py --dataset digits --synthetic --archive {folder}",
        f"training.py --dataset digits --epochs 2 --name first-synthetic --data {folder}",
        f"test_model.py --run first-synthetic --data {folder}",
    ]


def test_a_mistake_is_its_one_line_and_the_rest_is_not_run(project, plan):
    (project / "setup_data.py").write_text("print('reading'); print('error: no <network>'); print('bye'); exit(2)")
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        progress = ended(beginning)
        assert (progress.phase, progress.now, progress.line) == ("failed", 0, "no <network>")
        assert not beginning.trained.is_set()
        assert not (project / "log").exists()
        page = begin_page.status_card("why", progress)
        assert "no &lt;network&gt;" in page
        assert "Traceback" not in page

        (project / "setup_data.py").write_text(WRITE)  # the network is back
        beginning.start(synthetic=False)
        assert ended(beginning).phase == "trained"


def test_a_crash_is_its_last_line(project, plan):
    (project / "training.py").write_text("raise MemoryError('no room')")
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        progress = ended(beginning)
    assert (progress.phase, progress.now, progress.line) == ("failed", 1, "MemoryError: no room")


def test_a_silent_end_is_told_by_its_code(project, plan):
    (project / "training.py").write_text("exit(3)")
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        assert ended(beginning).line == "training.py ended with code 3"


def test_one_run_at_a_time_however_many_visitors_ask(project, plan):
    (project / "setup_data.py").write_text(WRITE + "import time; time.sleep(1)")
    with Beginning(plan, offered=True) as beginning:
        for synthetic in (False, True, False, True):
            beginning.start(synthetic=synthetic)
        ended(beginning)
    assert len(calls(project)) == 3
    assert not any("synthetic" in call for call in calls(project))


SLOW = "import os, time, pathlib; pathlib.Path(__file__).with_name('id').write_text(str(os.getpid())); time.sleep(600)"


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="looks at processes as POSIX has them")
def test_stopping_and_leaving_end_the_script(project, plan):
    (project / "training.py").write_text(SLOW)
    note = project / "id"
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        wait_until(lambda: note.exists() and note.read_text())
        assert beginning.progress.phase == "running"
        beginning.stop()
        assert ended(beginning).phase == "idle"
        assert not is_alive(int(note.read_text()))
        note.unlink()
        beginning.start(synthetic=False)
        wait_until(lambda: note.exists() and note.read_text())
    assert not is_alive(int(note.read_text()))
    assert not beginning.trained.is_set()


def test_where_it_is_not_offered_nothing_starts(project, plan):
    beginning = Beginning(plan)
    beginning.start(synthetic=True)
    assert beginning.progress.phase == "idle"
    assert not (project / "log").exists()


@pytest.mark.parametrize(
    ("settings", "private"),
    [
        (LaunchSettings(), True),
        (LaunchSettings(host="localhost"), True),
        (LaunchSettings(host="::1"), True),
        (LaunchSettings(share=True), False),
        (LaunchSettings(host="0.0.0.0"), False),
        (LaunchSettings(host="192.168.1.7"), False),
        (LaunchSettings(host="::"), False),
        (LaunchSettings(host=""), False),
        (LaunchSettings(host="localhost.example.org"), False),
    ],
)
def test_strangers_cannot_start_a_training(settings, private):
    assert is_private(settings) == private


@pytest.mark.parametrize(
    ("headers", "here"),
    [
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, True),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, True),
        ({"host": "localhost:7860"}, True),
        ({"host": "127.0.0.1:7860", "origin": "http://evil.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:1234"}, False),
        ({"host": "127.0.0.1:7860", "origin": "null"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({}, False),
    ],
)
def test_only_the_page_itself_may_ask(headers, here):
    assert begin_page.comes_from_here(headers) == here


def test_a_trainings_own_lines_move_the_bar(project, plan, capsys):
    row = {"epoch": 3.0, "train_loss": 0.5, "validation_accuracy": 0.875, "learning_rate": 1e-3, "seconds": 2.0}
    TrainingProgress(epochs=12).epoch(row, best=True)
    unvalidated = {key: value for key, value in row.items() if key != "validation_accuracy"} | {"epoch": 12.0}
    TrainingProgress(epochs=12).epoch(unvalidated, best=False)
    first, second = capsys.readouterr().out.splitlines()
    news, whole = [], []
    with Beginning(plan, offered=True) as beginning:
        for line in (first, second):
            (project / "training.py").write_text(f"import time; print({line!r}, flush=True); time.sleep(600)")
            beginning.start(synthetic=True)
            wait_until(lambda: beginning.progress.line)
            news.append(beginning.progress.line)
            whole.append(beginning.progress.whole)
            beginning.stop()
            ended(beginning)
    assert news[0] == "Pass 3 of 12 over the training data: right in 87.50 % of the samples that are held out"
    assert news[1] == "Pass 12 of 12 over the training data"
    assert whole == pytest.approx([0.2 + 0.7 * 3 / 12, 0.9])
    assert 'aria-valuenow="38"' in begin_page.status_card("why", Progress("running", tuple(plan.steps(True)), 1, 0.25))


def test_a_download_moves_the_bar_by_what_has_arrived(project, plan, monkeypatch):
    monkeypatch.delenv("BARENETS_DATA", raising=False)
    (project / "setup_data.py").write_text(
        "import pathlib, time\n"
        "part = pathlib.Path(__file__).parent / 'archive' / 'downloads' / 'digits' / 'x.gz.part'\n"
        "part.parent.mkdir(parents=True); part.write_bytes(bytes(2_500_000)); time.sleep(600)"
    )
    with Beginning(plan, offered=True) as beginning:
        beginning.start(synthetic=False)
        wait_until(lambda: beginning.progress.line)
        assert beginning.progress.line == "2.5 of about 10 MB"
        assert beginning.progress.share == pytest.approx(0.25)


@pytest.mark.parametrize("project_name", PROJECTS)
@pytest.mark.parametrize("synthetic", [False, True])
def test_every_project_understands_the_flags_that_its_page_would_use(project_name, synthetic):
    from core.cli import parse

    app = import_module(f"{project_name}.app")
    for step in app.plan(app.Settings()).steps(synthetic):
        script = import_module(f"{project_name}.{step.script.removesuffix('.py')}")
        options = {name: getattr(script, name.upper()) for name in ("presets",) if hasattr(script, name.upper())}
        if choose := getattr(script, "choose_preset", None):
            options["choose_preset"] = choose
        parse(script.Settings, list(step.flags), **options)


def test_every_page_offers_it_and_sets_the_data_apart():
    for name in PROJECTS:
        app = import_module(f"{name}.app")
        plan = app.plan(app.Settings())
        assert plan.project == Path(app.__file__).parent
        assert plan.commands()[1] == f"python {name}/training.py"
        setup, training, test = plan.steps(synthetic=True)
        assert setup.flags[-1] == training.flags[-1] == test.flags[-1], "the synthetic data, and no other"


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs Gradio")
def test_the_page_has_buttons_only_where_they_are_offered(plan):
    """In a process of its own, because Gradio leaves sockets open."""
    import subprocess

    code = (
        "from pathlib import Path; from core.demo.begin import *; from core.demo.begin_page import *\n"
        f"plan = Plan(Path({str(plan.project)!r}), 'digits', 'Digits', 10.0, '<b>')\n"
        "for offered in (True, False):\n"
        "    page = begin_page('T', 'S', 'no model yet: run `x`', Beginning(plan, offered=offered))\n"
        "    print([c['props'].get('value') for c in page.config['components']], len(page.fns))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(begin_page.__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    offered, not_offered = done.stdout.splitlines()
    assert "Fetch the data and train" in offered
    assert "<code>x</code>" in offered
    assert "<b>" not in offered
    assert "Fetch the data and train" not in not_offered
    assert not_offered.endswith(" 1"), "no handler that anybody could call, but the empty one of every page"
    assert "python project/training.py" in not_offered
