"""Every kind of network, exported, answers in ONNX Runtime as it does here; and what else the command promises."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx_runs import MODULES, NETWORKS, NOTICE, make_run, some_samples

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import emnist.model  # noqa: E402
from core.data.prepared import save_prepared  # noqa: E402
from core.errors import UserError  # noqa: E402
from core.layers import Linear, ReLU  # noqa: E402
from core.losses import softmax  # noqa: E402
from scripts import export_onnx  # noqa: E402
from scripts.onnx_export.graph import Value  # noqa: E402
from scripts.onnx_export.model import Difference, session_of  # noqa: E402
from scripts.onnx_export.projects import ALL_RULES, load  # noqa: E402

SCRIPT = Path(export_onnx.__file__)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_same_answers(name, tmp_path):
    project = name.split(",")[0]
    path = export_onnx.export(make_run(tmp_path, name))
    assert path == tmp_path / "best.onnx"
    session = session_of(path.read_bytes())
    assert load(tmp_path / "best.safetensors")[0].name == project
    _, trained = load(tmp_path / "best.safetensors")
    for n in (1, 20):
        samples, feeds = some_samples(project, n)
        x = samples if project == "rnn_doodles" else MODULES[project].preprocess(samples, trained.normalize)
        ours = trained.network.forward(x).copy()
        shares = ours / ours.sum(axis=1, keepdims=True) if "sigmoids" in name else softmax(ours)
        outputs, probabilities = session.run(None, feeds)
        np.testing.assert_allclose(outputs, ours, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(probabilities, shares, rtol=0, atol=1e-5)
    assert np.ptp(ours, axis=0).max() > 0.01  # else a network that ignores its input would pass too


def test_the_file_says_what_it_is(tmp_path):
    run = make_run(tmp_path, "emnist, convolutions", data={"dataset": "emnist"})
    before = onnx.load(export_onnx.export(run))
    assert "accuracy" not in {prop.key for prop in before.metadata_props}
    weights = hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest()
    accuracy = {"value": 0.9, "low": 0.89, "high": 0.91}
    report = {"accuracy": accuracy, "images": 1234, "date": "2026-11-21T02:16:13+00:00", "dataset": "EMNIST by hand"}
    (run / "report").mkdir()
    (run / "report" / "report.json").write_text(json.dumps(report | {"weights_sha256": weights, "licence": "free"}))
    model = onnx.load(export_onnx.export(run))
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert said["accuracy"] == "90.00% of 1,234 test samples (95 % interval 89.00% to 91.00%), 2026-11-21"
    assert said["notice"] == NOTICE
    assert json.loads(said["classes"]) == [f"class {k}" for k in range(7)]
    assert (said["project"], said["data_licence"], said["dataset"]) == ("emnist", "free", "EMNIST by hand")
    assert said["weights_sha256"] == weights
    assert said["input"].startswith("images float32 (N, 28, 28): characters")
    assert NOTICE in model.doc_string
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]


def test_the_same_weights_make_the_same_file(tmp_path):
    run = make_run(tmp_path / "run", "rnn_doodles, gru")
    first, second = (export_onnx.export(run, tmp_path / name) for name in ("a.onnx", "new/b.onnx"))
    assert first.read_bytes() == second.read_bytes()


# -- the comparison ---------------------------------------------------------------------------------------------------


def test_weights_are_not_overwritten(tmp_path):
    run = make_run(tmp_path, "mlp_mnist")
    before = (run / "best.safetensors").read_bytes()
    with pytest.raises(UserError, match="would take the place of weights"):
        export_onnx.export(run, out=run / "best.safetensors")
    assert (run / "best.safetensors").read_bytes() == before


def test_a_network_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    run = make_run(tmp_path, "mlp_mnist")
    (run / "best.onnx").write_text("the one before")
    without_bias = lambda graph, layer, x: Value(graph.add("MatMul", x.name, graph.constant("w", layer.weight.data)))  # noqa: E731
    monkeypatch.setitem(ALL_RULES, Linear, without_bias)
    with pytest.raises(UserError, match="answers otherwise"):
        export_onnx.export(run)
    assert (run / "best.onnx").read_text() == "the one before"


@pytest.mark.parametrize(
    ("difference", "is_rounding"),
    [
        ({}, True),
        ({"probabilities": 2e-5}, False),
        ({"outputs": 3e-4}, True),  # of logits up to 40
        ({"outputs": 5e-4}, False),
        ({"outputs": 2e-5, "largest": 0.5}, False),
        ({"probabilities": np.nan}, False),
        ({"outputs": np.nan}, False),
    ],
)
def test_what_counts_as_rounding(difference, is_rounding):
    values = {"samples": 9, "probabilities": 1e-6, "outputs": 1e-5, "largest": 40.0, "same": 9} | difference
    assert Difference(**values).is_rounding is is_rounding


@pytest.mark.parametrize("project", ["mlp_mnist", "music_cuda", "rnn_doodles"])
def test_the_check_reads_test_samples_without_labels(project, tmp_path, capsys):
    name = next(name for name in NETWORKS if name.startswith(project))
    samples, _ = some_samples(project, 20)
    arrays = {"test_features" if project == "music_cuda" else "test_images": samples}
    if project == "rnn_doodles":
        points = np.random.default_rng(5).integers(0, 256, (50, 3), np.uint8)
        arrays = {"test_points": points, "test_lengths": np.array([20, 6, 24], np.uint16)}
    info = {"dataset": "it", "origin": "synthetic", "complete": False, "notice": NOTICE, "command": "python make.py"}
    save_prepared(tmp_path / "data", arrays, info)
    export_onnx.export(make_run(tmp_path / "run", name), check=15, data=tmp_path / "data")
    printed = capsys.readouterr().out
    assert f"*** {NOTICE} ***" in printed
    assert f"\n{3 if project == 'rnn_doodles' else 15} test samples: probabilities differ by at most " in printed


def test_data_of_another_network_are_refused(tmp_path):
    info = {"dataset": "it", "origin": "synthetic", "complete": False, "notice": NOTICE, "command": "python make.py"}
    save_prepared(tmp_path / "data", {"test_images": np.zeros((5, 28, 28), np.uint8)}, info)
    with pytest.raises(UserError, match=r"samples of \(28, 28\), and the network sees \(28, 56\)"):
        export_onnx.export(make_run(tmp_path / "run", "cnn_mnist100"), check=5, data=tmp_path / "data")


# -- mistakes ---------------------------------------------------------------------------------------------------------


def run_script(*arguments: str | Path, cwd: Path, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, SCRIPT, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})


def only_line(text: str) -> str:
    (line,) = text.strip().splitlines()
    return line


def test_mistakes_end_with_one_line_and_exit_code_2(tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    done = run_script("text.safetensors", cwd=tmp_path)
    assert (done.returncode, only_line(done.stderr)[:7]) == (2, "error: ")
    assert "is not a checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "training state"}, r"the state of a training; export the best\.safetensors beside it"),
        ({"about": {"architecture": {"hidden": [3]}}}, "holds no network of mlp_mnist, cnn_mnist100"),
        ({"about": None}, "holds no network of"),
    ],
)
def test_other_files_are_refused(changes, said, tmp_path):
    with pytest.raises(UserError, match=said):
        export_onnx.export(make_run(tmp_path, "mlp_mnist", **changes))


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint .*nowhere"):
        export_onnx.export(tmp_path / "nowhere")


def test_a_layer_without_a_rule_is_named(tmp_path, monkeypatch):
    class Swish(ReLU):
        """A subclass computes something else, so it must not pass for its base."""

    run = make_run(tmp_path, "emnist, perceptron")
    monkeypatch.setitem(emnist.model.ACTIVATIONS, "tanh", Swish)
    with pytest.raises(UserError, match=r"^Swish cannot be exported"):
        export_onnx.export(run)


def test_help_and_what_is_missing_on_a_bare_python(tmp_path):
    bare = ("-I", "-S")
    helped = run_script("--help", cwd=tmp_path, python=bare)
    assert (helped.returncode, helped.stderr) == (0, "")
    done = run_script("run", cwd=tmp_path, python=bare)
    assert done.returncode == 2
    assert only_line(done.stderr) == 'error: onnx is missing: pip install -e ".[export]" -c constraints.txt'
