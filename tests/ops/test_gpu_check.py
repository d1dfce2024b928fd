"""The script for a day with a GPU: it says so when there is none, and its logic holds on the emulated one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import cifar.model
from core import backend
from core.kernels import shim
from core.kernels.emulated import emulated_gpu
from core.layers import ReLU
from core.ops import gpu, proofs
from scripts import gpu_check
from scripts.environment import SetupError
from scripts.gpu import bandwidth, clock, steps
from scripts.gpu.clock import Sizes

SCRIPT = Path(gpu_check.__file__)
SMALL = Sizes(elements=2048, columns=32, matrices=(70,), convolutions=((4, 3, 8),), batch=4)

needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="kernels run on the CPU only with g++ or clang++")


@pytest.mark.skipif(not backend.why_no_gpu(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: CuPy")


@pytest.fixture
def few_cases(monkeypatch):
    kept = {name: proofs.CASES[name] for name in ("relu", "adam", "gru")}
    monkeypatch.setattr(proofs, "CASES", kept)
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: None)


@needs_compiler
def test_the_whole_report_on_the_emulated_gpu(few_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clock, "Sizes", lambda: SMALL)
    monkeypatch.setattr(steps, "NETWORKS", {"mlp_mnist": steps.NETWORKS["mlp_mnist"]})
    monkeypatch.setattr(steps, "their_figures", lambda *_: {})
    with emulated_gpu():
        assert gpu_check.main(["--out", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"device", "versions", "commit", "date", *gpu_check.PARTS} <= report.keys()
    assert report["failures"] == []
    assert report["proofs"]["cases"] > 10
    assert max(report["gradients"].values()) < gpu_check.TOLERANCE
    assert report["bandwidth"]["operations"].keys() == {name for name, _, _ in small_operations()}
    assert {row["name"] for row in report["products"]} == {"cuBLAS", "gemm_naive", "gemm_tiled", "gemm_blocked"}
    assert {(row["dtype"], row["name"]) for row in report["products"]} >= {
        ("float16", "cuBLAS"),
        ("float16", "gemm_blocked"),
    }
    assert {row["pass"] for row in report["convolutions"]} == {"forward", "input's gradient", "weight's gradient"}
    assert 0 < report["mixed"]["mlp_mnist"] < 0.01
    assert [row["precision"] for row in report["steps"]] == ["float32", "mixed"]
    assert min(row["ours_ms"] for row in report["steps"]) > 0
    assert capsys.readouterr().out.endswith("all agree\n")


def small(network):
    """The same network with fewer channels and units, or for shorter sequences."""
    about = network.architecture
    if network.project is cifar.model:
        about = replace(about, widths=tuple(w // 8 for w in about.widths), hidden=tuple(h // 8 for h in about.hidden))
    shape = (6, *network.shape[1:]) if len(network.shape) == 2 else network.shape
    return replace(network, architecture=about, shape=shape)


def small_operations():
    with emulated_gpu():
        return list(bandwidth.memory_bound(SMALL))


@needs_compiler
@pytest.mark.parametrize("name", steps.NETWORKS)
def test_every_network_can_be_timed(name):
    network = small(steps.NETWORKS[name])
    with emulated_gpu() as device:
        step = steps.our_step(network, 1)
        with device.forbid_waiting():
            step()
        assert np.isfinite(float(step()))


@needs_compiler
def test_a_step_in_mixed_precision_can_be_timed():
    network = small(steps.NETWORKS["cifar cnn"])
    with emulated_gpu() as device:
        step = steps.our_step(network, 1, amp=True)
        before = device.waits
        loss = step()
        assert device.waits == before + 1, "the look at the overflow"
        assert np.isfinite(float(loss))


@needs_compiler
def test_a_wrong_gradient_in_mixed_precision_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(steps, "NETWORKS", {"mlp_mnist": steps.NETWORKS["mlp_mnist"]})
    monkeypatch.setattr("core.ops.gpu.unscale", lambda grad, factor, overflow: None)
    failures: list[str] = []
    with emulated_gpu():
        gpu_check.mixed(SMALL, failures)
    assert len(failures) == 1
    assert "WRONG" in capsys.readouterr().out


@needs_compiler
def test_a_wrong_kernel_is_a_failure(few_cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "relu_forward", lambda x, y: gpu.leaky_relu_forward(x, y, 0.5))
    with emulated_gpu():
        assert gpu_check.main(["--only", "proofs", "--no-save"]) == 1
    output = capsys.readouterr().out
    assert "DIFFERS" in output
    assert "FAILURES" in output


@pytest.mark.parametrize(
    ("there", "message"),
    [('{"proofs": {}, "steps": []}', "also holds steps, which would be lost"), ("[1]", "is no result file")],
)
def test_results_of_other_parts_are_not_overwritten(there, message, few_cases, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(there)
    with emulated_gpu(), pytest.raises(SetupError, match=message):
        gpu_check.main(["--only", "proofs", "--out", str(file)])
    assert file.read_text() == there


@needs_compiler
def test_a_wrong_gradient_is_a_failure(monkeypatch, capsys):
    class WrongReLU(ReLU):
        def backward(self, dy):
            return 1.01 * super().backward(dy)

    monkeypatch.setattr("core.gradcheck.layer_cases", lambda rng: [("ReLU", WrongReLU(), np.ones((3, 4)))])
    failures: list[str] = []
    with emulated_gpu():
        gpu_check.gradients(failures)
    assert len(failures) == 1
    assert "WRONG" in capsys.readouterr().out


def test_the_sanitizers_verdict_counts(monkeypatch):
    monkeypatch.setattr(gpu_check, "find_sanitizer", lambda: "compute-sanitizer")
    monkeypatch.setattr(
        gpu_check.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 9 if "racecheck" in command else 0, "", ""),
    )
    failures: list[str] = []
    assert gpu_check.sanitizer(failures)["memcheck"]["exit_code"] == 0
    assert failures == ["compute-sanitizer --tool racecheck ended with 9"]
