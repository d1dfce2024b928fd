"""Preparing CIFAR-10: both archives, partial copies, hostile ones, what is set aside, and the stand-in."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from mistakes import complaint_of
from tiny_cifar import FILES, batches, binary_archive, mirror, python_2_pickle, python_archive, records, tar_gz

from cifar import setup_data
from cifar.setup_data import Settings
from core.data.cifar import read_cifar
from core.data.fetch import DATA_VARIABLE, MIRROR_VARIABLE
from core.data.prepared import load_prepared
from core.errors import UserError


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for variable in (DATA_VARIABLE, MIRROR_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return Settings(archive=tmp_path / "archive", data_dir=tmp_path / "downloads")


def from_mirror(settings, tmp_path, **archives):
    """Settings for a mirror that holds these archives."""
    return replace(settings, mirror=str(mirror(tmp_path / "mirror", **archives)), allow_unverified=True)


def test_a_partial_binary_copy_is_taken_when_told_and_marked(settings, tmp_path, capsys):
    settings = from_mirror(settings, tmp_path, binary=binary_archive())
    with pytest.raises(UserError, match="--allow-unverified"):
        setup_data.run(replace(settings, allow_unverified=False))
    setup_data.run(settings)
    out = capsys.readouterr().out
    arrays, info = load_prepared(settings.archive, verify=True).arrays, load_prepared(settings.archive).info
    assert info["notice"].startswith("UNVERIFIED copy of CIFAR-10 with 104 of 50,000 training and 12 of 10,000 test")
    assert info["notice"] in out
    assert not info["complete"]
    assert info["origin"] == "mirror"
    assert info["counts"] == {"train": 87, "held_out": 17, "test": 12}
    np.testing.assert_array_equal(arrays["test_images"], batches()["test_batch"][0])
    np.testing.assert_array_equal(arrays["test_labels"], batches()["test_batch"][1])
    assert arrays["train_images"].shape == (87, 32, 32, 3)
    setup_data.run(settings)
    assert "nothing to do" in capsys.readouterr().out


def test_what_is_set_aside_is_part_of_the_training_images_and_always_the_same(settings, tmp_path):
    settings = from_mirror(settings, tmp_path, binary=binary_archive())
    setup_data.run(settings)
    first = load_prepared(settings.archive).arrays
    whole = np.concatenate([images for name, (images, _) in batches().items() if name != "test_batch"])
    parts = {image.tobytes() for part in ("train", "held_out") for image in first[f"{part}_images"]}
    assert parts == {image.tobytes() for image in whole}
    setup_data.run(replace(settings, force=True))
    again = load_prepared(settings.archive).arrays
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    setup_data.run(replace(settings, held_out=0))
    arrays = load_prepared(settings.archive).arrays
    assert "held_out_images" not in arrays
    np.testing.assert_array_equal(arrays["train_images"], whole)


def test_both_archives_hold_the_same(tmp_path):
    found = {}
    for kind, content in (("binary", binary_archive()), ("python", python_archive())):
        path = tmp_path / f"{kind}.tar.gz"
        path.write_bytes(content)
        found[kind] = read_cifar(path, 10, binary=kind == "binary", partial=True)
        with pytest.raises(UserError, match="holds 24 images, not 10,000"):
            read_cifar(path, 10, binary=kind == "binary")
    for name, (images, labels) in batches().items():
        for kind in found:
            np.testing.assert_array_equal(found[kind][name].images, images)
            np.testing.assert_array_equal(found[kind][name].labels, labels)


def test_the_python_archive_is_never_taken_unverified(settings, tmp_path):
    settings = from_mirror(settings, tmp_path, python=python_archive())
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz"):
        setup_data.run(settings)
    assert not settings.archive.exists()


class Evil:
    def __reduce__(self):
        return os.system, ("touch was_run",)


BATCH = batches()["data_batch_1"]
HOSTILE = {
    "truncated": (binary_archive()[:-2000], "damaged or truncated"),
    "no archive": (b"\x1f\x8bnothing", "damaged or truncated"),
    "a record too short": (binary_archive(data_batch_2=records(*BATCH)[:-1]), "no number of records"),
    "empty": (binary_archive(data_batch_2=b""), "no number of records"),
    "one file missing": (binary_archive(test_batch=None), "holds no test_batch.bin"),
    "a label too high": (binary_archive(data_batch_1=b"\x0a" + records(*BATCH)[1:]), "a label of 10"),
    "too many": (binary_archive(data_batch_1=bytes(3073 * 10_001)), "holds 10,001 images"),
    "larger than any": (binary_archive(data_batch_1=bytes(50_000_000)), "larger than the 40,000,000 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_binary_archives_end_in_one_line(name, tmp_path):
    content, message = HOSTILE[name]
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_cifar(path, 10, binary=True, partial=True)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    names = [f"{folder}/{name}.bin" for folder in ("a", "b") for name in FILES]
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(tar_gz(dict.fromkeys(names, records(*BATCH))))
    with pytest.raises(UserError, match="there twice"):
        read_cifar(path, 10, binary=True, partial=True)


PICKLES = {
    "a forbidden name": (pickle.dumps({"data": Evil(), "labels": []}, protocol=2), "which could run"),
    "no dictionary": (pickle.dumps([1, 2], protocol=2), "expected a dictionary"),
    "no images": (pickle.dumps({"data": [1], "labels": [1]}, protocol=2), "expected images uint8"),
    "labels for others": (python_2_pickle(BATCH[0], BATCH[1][:-1]), "23 labels for 24 images"),
    "truncated": (python_2_pickle(*BATCH)[:-100], "a damaged pickle"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickles_end_in_one_line_and_nothing_runs(name, tmp_path, monkeypatch):
    content, message = PICKLES[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(tar_gz({f"cifar-10-batches-py/{file}": content for file in FILES}))
    with pytest.raises(UserError, match=message) as caught:
        read_cifar(path, 10, binary=False, partial=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_run").exists()


def test_a_stand_in_and_its_subset_say_what_they_are(settings, capsys):
    setup_data.run(replace(settings, synthetic=True, subset=50))
    info = load_prepared(settings.archive).info
    assert info["notice"].startswith("SYNTHETIC data: textured shapes, not CIFAR-10")
    assert "SUBSET" in info["notice"]
    assert info["counts"] == {"train": 50, "held_out": 50, "test": 50}
    assert info["command"] == "python cifar/setup_data.py --synthetic --subset 50"
    out = capsys.readouterr().out
    assert out.startswith("SYNTHETIC data in place of CIFAR-10 is prepared")
    assert "star" in out


def test_mnist_comes_through_the_same_script(settings, capsys):
    setup_data.run(replace(settings, dataset="mnist", synthetic=True, subset=30))
    assert load_prepared(settings.archive).info["dataset"] == "mnist"
    assert load_prepared(settings.archive).arrays["train_images"].shape == (30, 28, 28)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--dataset", "cifar100"], "cifar100"),
        (["--synthetic", "--mirror", "x"], "choose one"),
        (["--held-out", "-1"], "--held-out must be at least 0"),
        (["--synthetic", "--held-out", "6000"], "leaves nothing"),
        (["--dataset", "mnist", "--held-out", "5"], "--held-out is for CIFAR-10"),
        (["--csv", "--synthetic"], "--dataset mnist only"),
        (["--offline"], "--synthetic makes stand-in data"),
        (["--subset", "0"], "--subset must be at least 1"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_code_2(flags, message, tmp_path):
    assert message in complaint_of(setup_data.__file__, "--archive", "a", "--data-dir", "d", *flags, folder=tmp_path)
