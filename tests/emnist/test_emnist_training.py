"""Training, the cache of weights, and the report of emnist, on small rendered characters."""

from __future__ import annotations

import json
import resource
from dataclasses import replace

import numpy as np
import pytest
from mistakes import complaint_of, prepare_coloured_pictures
from tiny_emnist import NOTICE, make_archive, make_run

from core.data.splits import split_indices
from core.errors import UserError
from core.layers import Linear
from core.training.checkpoint import load_checkpoint
from core.training.lock import FolderLock
from emnist import test_model, trained, training
from emnist.cache import fingerprint
from emnist.model import ACTIVATIONS, Architecture, build
from emnist.settings import PRESETS, Settings
from emnist.trained import load_reader, prepare


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "emnist")


@pytest.fixture
def quick(archive, tmp_path, monkeypatch):
    """Settings for a training of less than a second, whose runs go to a temporary folder."""
    monkeypatch.setattr(training, "PROJECT", tmp_path)
    return Settings(data=str(archive), epochs=2, hidden=(16,), lr=3e-3, threads=2, validation=0.2)


def weights(folder):
    return load_checkpoint(folder / "best.safetensors")


def test_it_learns_and_a_second_identical_run_loads_the_weights(quick, tmp_path, capsys):
    quick = replace(quick, hidden=(64,), epochs=15, batch_size=16)
    row = training.train(quick)
    assert row["validation_accuracy"] > 0.3
    folder = tmp_path / "runs" / "classic"
    tensors, metadata = weights(folder)
    assert metadata["notice"] == NOTICE
    capsys.readouterr()
    again = training.train(replace(quick, threads=1))
    assert again == row
    out = capsys.readouterr().out
    assert "loaded" in out
    assert f"NOTICE: {NOTICE}\n" in out
    assert not (tmp_path / "runs" / "classic.1").exists()
    training.train(replace(quick, name="other"))
    for name, tensor in weights(tmp_path / "runs" / "other")[0].items():
        np.testing.assert_array_equal(tensor, tensors[name])


@pytest.mark.parametrize("change", [{"lr": 2e-3}, {"retrain": True}, {"seed": 1}, {"class_weights": "root"}])
def test_other_settings_are_trained(quick, tmp_path, capsys, change):
    training.train(quick)
    capsys.readouterr()
    training.train(replace(quick, **change))
    out = capsys.readouterr().out
    assert "loaded" not in out
    assert "epoch 2/2" in out
    assert (tmp_path / "runs" / "classic.1").exists()


def test_weights_that_were_changed_or_never_finished_are_not_taken(quick, tmp_path, capsys):
    training.train(quick)
    folder = tmp_path / "runs" / "classic"
    make_run(folder, Architecture(51, hidden=(16,)))
    training.train(quick)
    assert "loaded" not in capsys.readouterr().out
    for text in ("{", "[]", '{"key": 1}', ""):
        (folder / "finished.json").write_text(text)
        assert "epoch" in str(training.train(replace(quick)))


def test_weights_out_of_the_cache_arrive_whole_or_not_at_all(quick, tmp_path):
    training.train(quick)
    size = (tmp_path / "runs" / "classic" / "best.safetensors").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        with pytest.raises(UserError, match=r"cannot write .*best\.safetensors: File too large"):
            training.train(replace(quick, name="other"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "runs" / "other" / "best.safetensors").exists()


def test_weights_are_not_brought_into_a_folder_that_is_being_trained_in(quick, tmp_path):
    training.train(quick)
    other = tmp_path / "runs" / "other"
    with FolderLock(other), pytest.raises(UserError, match="other is in use by another run"):
        training.train(replace(quick, name="other"))
    assert not other.exists()


def test_the_fingerprint_is_of_settings_and_data(quick):
    info = {"arrays": {name: {"sha256": "a"} for name in ("train_images", "train_labels")}, "classes": ["0"]}
    key = fingerprint(quick, info)
    assert fingerprint(replace(quick, name="x", threads=7, preset="classic"), info) == key
    assert fingerprint(replace(quick, hidden=(17,)), info) != key
    other = {"arrays": info["arrays"] | {"train_images": {"sha256": "b"}}, "classes": ["0"]}
    assert fingerprint(quick, other) != key
    assert fingerprint(quick, info | {"classes": ["1"]}) != key


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_reports_and_is_read_back(preset, quick, tmp_path, monkeypatch, capsys, archive):
    small = {"filters": (4, 4)} if PRESETS[preset].filters else {}
    settings = replace(PRESETS[preset], data=str(archive), epochs=1, hidden=(16,), validation=0.2, **small)
    training.train(settings)
    run = tmp_path / "runs" / settings.run_name
    test_model.test(test_model.Settings(run=str(run), data=str(archive)))
    out = capsys.readouterr().out
    assert f"*** {NOTICE} ***" in out
    assert "on the symbols" in out
    assert "confusions among them forgiven" in out
    figures = json.loads((run / "report" / "lookalikes.json").read_text())
    assert figures["notice"] == NOTICE
    assert figures["parts"]["symbols"]["images"] == 8
    reader = load_reader(str(run))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    assert reader.network.forward(prepare(reader, images)).shape == (3, 51)


def test_nobody_but_the_test_opens_the_test_images(quick, archive, tmp_path):
    folder = tmp_path / "without" / "emnist"
    folder.mkdir(parents=True)
    for name in ("info.json", "train_images.npy", "train_labels.npy"):
        (folder / name).write_bytes((archive / name).read_bytes())
    training.train(replace(quick, data=str(folder)))


def test_class_weights():
    labels = np.array([0] * 90 + [1] * 10)
    assert training.weigh_classes(labels, 2, "none") is None
    balanced = training.weigh_classes(labels, 2, "balanced")
    assert balanced.dtype == np.float32
    np.testing.assert_allclose(balanced[0] * 90, balanced[1] * 10, rtol=1e-6)
    root = training.weigh_classes(labels, 2, "root")
    assert root[1] / root[0] == pytest.approx(3)
    for weights_ in (balanced, root):
        assert weights_[labels].mean() == pytest.approx(1)
    assert np.isfinite(training.weigh_classes(labels, 3, "balanced")).all(), "a class without a sample"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_classic_network_is_what_its_name_says(activation):
    architecture = Architecture(51, activation=activation)
    network = build(architecture)
    sizes = [layer.weight.data.shape for layer in network.layers.values() if isinstance(layer, Linear)]
    assert sizes == [(784, 256), (256, 128), (128, 51)] == list(architecture.matrices())
    assert str(architecture) == f"multilayer perceptron 784-256-128-51, {activation}"
    assert network.forward(np.zeros((2, 28, 28, 1), np.float32)).shape == (2, 51)


def test_the_convolutional_network_has_the_weights_that_it_announces():
    architecture = Architecture(51, filters=(4, 6, 8), hidden=(10,), batch_norm=True, dropout=0.5)
    network = build(architecture)
    sizes = [layer.weight.data.shape for layer in network.layers.values() if hasattr(layer, "weight")]
    assert [size for size in sizes if len(size) == 2] == list(architecture.matrices())
    assert architecture.features == 7 * 7 * 8
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_a_deep_stage_is_pooled_at_its_end():
    architecture = Architecture(51, filters=(4, 6), depth=2, pools=1, hidden=(10,))
    layers = build(architecture).layers
    convolutions = [layers[f"conv{place}"] for place in (1, 2, 3, 4)]
    assert [layer.pool.kernel[0] for layer in convolutions] == [1, 2, 1, 1]
    assert [layer.weight.data.shape for layer in convolutions] == [(9, 4), (36, 4), (36, 6), (54, 6)]
    assert architecture.features == 14 * 14 * 6
    assert str(architecture) == "convolutions 3x3 of 2 x 4-6 filters, fully connected 10-51"


def test_weights_from_before_there_were_deep_stages_are_read():
    stored = Architecture(51, filters=(4, 6)).to_dict()
    del stored["depth"]
    assert Architecture.from_dict(stored).depth == 1


def test_the_statistics_of_the_norms_are_those_of_images_without_distortions(quick, tmp_path):
    quick = replace(quick, filters=(4,), pools=1, batch_norm=True, shift=5, elastic=60, epochs=1)
    training.train(quick)
    reader = load_reader(str(tmp_path / "runs" / "classic"))
    images, labels, _ = training.load(quick)
    rows, _ = split_indices(labels, quick.validation, quick.seed)
    before = reader.network.layers["conv1"].forward(prepare(reader, images[rows])).reshape(-1, 4)
    np.testing.assert_allclose(
        reader.network.layers["norm1"].running_mean, before.mean(axis=0, dtype=np.float64), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": (0,)}, "--hidden must be at least 1"),
        ({"filters": (0,)}, "--filters must be at least 1"),
        ({"filters": (1, 1, 1, 1, 1), "pools": 5}, "--pools 5 leaves nothing"),
        ({"depth": 0}, "--depth must be at least 1"),
        ({"depth": 9}, "--depth must be at most 8"),
        ({"validation": 0.0}, "--validation must be above 0"),
        ({"batch_norm": True, "batch_size": 1}, "--batch-norm needs 2 samples at a time"),
        ({"validation": 1.0}, "--validation must be"),
        ({"dropout": 1.0}, "--dropout must be"),
        ({"lr": float("nan")}, "--lr must be"),
        ({"name": "../elsewhere"}, "--name must be"),
    ],
)
def test_wrong_settings(change, message):
    with pytest.raises(UserError, match=message):
        Settings(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": [10**9]},
        {"classes": 5},
        {"activation": "none"},
        {"filters": [4] * 6, "pools": 6},
        {"depth": 10**9},
        {"depth": "2"},
        {"x": 1},
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, change):
    architecture = Architecture(51, filters=(4,), hidden=(16,)).to_dict()
    about = {"architecture": architecture | change, "normalize": {"mean": 0.1, "std": 0.3}, "classes": ["0"]}
    run = make_run(tmp_path / "run", Architecture(51, filters=(4,), hidden=(16,)), about=about)
    with pytest.raises(UserError, match="holds no network of this project"):
        load_reader(str(run))


def test_without_a_run_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trained, "PROJECT", tmp_path / "emnist")
    with pytest.raises(UserError, match=r"python emnist/training\.py"):
        load_reader("")


def test_pictures_of_another_size_are_refused(tmp_path):
    data = prepare_coloured_pictures(tmp_path / "other")
    with pytest.raises(UserError, match=r"other holds samples of \(32, 32, 3\), and the network sees \(28, 28\)"):
        training.load(Settings(data=str(data)))


def test_data_with_other_classes_are_refused(tmp_path, archive):
    run = make_run(tmp_path / "run")
    info = json.loads((archive / "info.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for path in archive.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "info.json").write_text(json.dumps(info | {"classes": info["classes"][::-1]}))
    with pytest.raises(UserError, match="other classes"):
        test_model.test(test_model.Settings(run=str(run), data=str(other)))


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        (training, ["--preset", "clasic"], "clasic"),
        (training, ["--data", "nowhere"], "nowhere"),
        (test_model, ["--run", "nowhere"], "there is no run 'nowhere'"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(script, flags, message, tmp_path):
    assert message in complaint_of(script.__file__, *flags, folder=tmp_path)
