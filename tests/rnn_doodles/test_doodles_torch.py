"""The comparison in PyTorch: the same network, weights both ways, and a training whose result our report takes."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_doodles import NOTICE, make_archive

from core.data.quickdraw import Drawings
from core.errors import UserError
from core.training.checkpoint import load_checkpoint
from core.training.outputs import Outputs
from rnn_doodles.ink import Ink, encode
from rnn_doodles.model import Architecture, build
from rnn_doodles.settings import Settings

torch = pytest.importorskip("torch")
from rnn_doodles import training_torch  # noqa: E402

RNG = np.random.default_rng(0)


def drawings(count=9):
    lengths = RNG.integers(6, 20, count)
    return Drawings(RNG.integers(0, 256, (lengths.sum(), 3)).astype(np.uint8), lengths)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("both_ways", [True, False])
def test_the_outputs_agree_with_weights_taken_either_way(cell, both_ways):
    architecture = Architecture(cell=cell, hidden=7, classes=4, bidirectional=both_ways)
    ours, theirs = build(architecture, seed=1), training_torch.TorchNetwork(architecture).eval()
    x = encode(Ink.of(drawings()))
    training_torch.load_into_torch(theirs, ours)
    with torch.no_grad():
        np.testing.assert_allclose(ours.forward(x), theirs(training_torch.as_packed(x)).numpy(), atol=1e-5)

    others = training_torch.TorchNetwork(architecture).eval()
    training_torch.load_from_torch(ours, others)
    with torch.no_grad():
        np.testing.assert_allclose(ours.forward(x), others(training_torch.as_packed(x)).numpy(), atol=1e-5)


@pytest.fixture
def quick(tmp_path, monkeypatch):
    monkeypatch.setattr(training_torch, "PROJECT", tmp_path)
    monkeypatch.setattr(Outputs, "draw", lambda *_: None)
    archive = make_archive(tmp_path / "archive", parts=("train",))
    return Settings(data=str(archive), epochs=3, batch_size=8, hidden=8, lr=1e-2, clip_norm=1.0, optimizer="adamw")


def test_a_training_learns_and_is_saved_as_ours(quick, tmp_path):
    training_torch.train(quick)
    run = tmp_path / "runs" / "torch-default"
    rows = (run / "history.csv").read_text().splitlines()
    losses = [float(row.split(",")[rows[0].split(",").index("train_loss")]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    tensors, metadata = load_checkpoint(run / "best.safetensors")
    assert metadata["notice"] == NOTICE
    assert metadata["about"]["trained_with"].startswith("PyTorch ")
    build(Architecture(**metadata["about"]["architecture"])).load_state_dict(tensors)


@pytest.mark.parametrize("flag", [{"resume": True}, {"pool": "mean"}, {"accumulate": 2}, {"device": "gpu"}])
def test_what_only_our_training_can_do_is_refused(quick, flag):
    for name, value in flag.items():
        setattr(quick, name, value)
    with pytest.raises(UserError):
        training_torch.train(quick)
