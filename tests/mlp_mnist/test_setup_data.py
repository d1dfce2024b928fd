"""setup_data.py on tiny files in MNIST's own format: every way to the data, and every way it can go wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_mnist import as_published, idx, make_mirror, some_pictures

from core.cli import main
from core.data import fetch, image_files
from core.data.prepared import load_prepared
from core.data.readers import idx_header
from core.data.sources import DATA_SETS
from mlp_mnist import setup_data
from mlp_mnist.setup_data import Settings

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "mlp_mnist" / "setup_data.py"
SIZES = {"train": 40, "test": 20}
ARRAYS = some_pictures(SIZES)


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    monkeypatch.setattr(fetch, "BACKOFF", 0)
    for variable in (fetch.MIRROR_VARIABLE, fetch.DATA_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def mirror(tmp_path) -> str:
    return make_mirror(tmp_path / "mirror", ARRAYS)


@pytest.fixture
def official(monkeypatch) -> None:
    """As if the tiny files were what the publisher of MNIST publishes."""
    monkeypatch.setitem(DATA_SETS, "mnist", as_published(ARRAYS))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Run the script's main in this process, away from the project's own archive; gives exit code, stdout, stderr."""
    monkeypatch.setattr(setup_data, "PROJECT", tmp_path / "mlp_mnist")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(setup_data.run, Settings, [str(argument) for argument in arguments])
        return (stop.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def archive(tmp_path) -> Path:
    return tmp_path / "mlp_mnist" / "archive" / "mnist"


def same(folder: Path) -> bool:
    loaded = load_prepared(folder, verify=True).arrays
    return all(np.array_equal(loaded[role], array) for role, array in ARRAYS.items())


@pytest.mark.usefixtures("official")
def test_official_data_is_complete_and_carries_no_notice(call, mirror, archive):
    code, out, err = call("--mirror", mirror)
    assert (code, err) == (0, "")
    assert "40 training and 20 test images of 28 x 28 pixels" in out
    assert "NOTICE" not in out
    assert same(archive)
    info = load_prepared(archive).info
    assert (info["origin"], info["complete"], info["notice"]) == ("mirror", True, "")
    assert info["counts"] == SIZES
    assert info["classes"] == list("0123456789")
    assert info["files"]["t10k-labels-idx1-ubyte.gz"] == sha256(idx(ARRAYS["test_labels"]))
    assert info["command"] == "python mlp_mnist/setup_data.py"
    assert mirror not in str(info), "a place of this machine must not travel with the data"


@pytest.mark.usefixtures("official")
def test_a_second_call_changes_nothing(call, mirror, archive):
    call("--mirror", mirror)
    before = {path: path.stat().st_mtime_ns for path in [archive, *archive.iterdir()]}
    code, out, _ = call()
    assert code == 0
    assert "already prepared" in out
    assert {path: path.stat().st_mtime_ns for path in [archive, *archive.iterdir()]} == before
    assert "wrote" in call("--mirror", mirror, "--force")[1]
    assert {path: path.stat().st_mtime_ns for path in [archive, *archive.iterdir()]} != before


@pytest.mark.usefixtures("official")
def test_damaged_prepared_data_is_made_again(call, mirror, archive):
    call("--mirror", mirror)
    data = bytearray((archive / "train_images.npy").read_bytes())
    data[-1] ^= 1
    (archive / "train_images.npy").write_bytes(data)
    code, out, _ = call("--mirror", mirror)
    assert code == 0
    assert "is damaged: it is prepared again" in out
    assert same(archive)


def test_an_unknown_copy_needs_a_flag_and_gets_a_notice(call, mirror, archive):
    code, out, err = call("--mirror", mirror)
    assert (code, out) == (2, "")
    assert "--allow-unverified" in err
    assert not archive.exists()
    code, out, _ = call("--mirror", mirror, "--allow-unverified")
    assert code == 0
    assert "NOTICE: UNVERIFIED data" in out
    assert same(archive)
    info = load_prepared(archive).info
    assert not info["complete"]
    assert "not comparable" in info["notice"]
    assert "already prepared" in call("--mirror", mirror, "--allow-unverified")[1]
    assert call("--offline")[0] == 2, "without the flag the unknown copy does not count as MNIST"
    assert same(archive), "and yet it stays"


@pytest.mark.usefixtures("official")
def test_a_subset_says_what_it_is(call, mirror, archive):
    code, out, _ = call("--mirror", mirror, "--subset", 30)
    assert code == 0
    assert "NOTICE: SUBSET of MNIST: the first 30 of 40 training images;" in out
    loaded = load_prepared(archive)
    assert np.array_equal(loaded.arrays["train_images"], ARRAYS["train_images"][:30])
    assert np.array_equal(loaded.arrays["test_labels"], ARRAYS["test_labels"])
    assert loaded.info["command"].endswith("--subset 30")
    assert "already prepared" in call("--mirror", mirror, "--subset", 30)[1]
    assert "SUBSET" not in call("--mirror", mirror, "--subset", 40)[1]
    assert load_prepared(archive).info["complete"]


def test_the_stand_in_needs_nothing_and_says_so(call, archive):
    code, out, _ = call("--synthetic", "--subset", 50)
    assert code == 0
    notice = "SYNTHETIC data: rendered digits, not MNIST; no figure here is a real result"
    assert out.startswith("SYNTHETIC data in place of MNIST is prepared")
    assert f"NOTICE: {notice}" in out
    loaded = load_prepared(archive)
    assert loaded.info["notice"] == notice
    assert (loaded.info["origin"], loaded.info["complete"]) == ("synthetic", False)
    images, labels = loaded.arrays["train_images"], loaded.arrays["train_labels"]
    assert (images.shape, images.dtype, labels.dtype) == ((50, 28, 28), np.uint8, np.uint8)
    assert sorted(set(labels.tolist())) == list(range(10))
    assert not np.array_equal(images, loaded.arrays["test_images"])
    assert "already prepared" in call("--synthetic", "--subset", 50)[1]


def test_the_stand_in_of_fashion_says_that_it_is_none(call, archive):
    assert call("--synthetic", "--subset", 50, "--dataset", "fashion_mnist")[0] == 0
    info = load_prepared(archive.with_name("fashion_mnist")).info
    assert "not Fashion-MNIST" in info["notice"]
    assert info["classes"] == list("0123456789")


@pytest.mark.usefixtures("official")
def test_csv_out_and_in_again_is_the_same_data(call, mirror, archive):
    out = call("--mirror", mirror, "--csv")[1]
    files = [archive.with_name(f"mnist_{part}.csv") for part in SIZES]
    assert all(f"{path.name} (" in out for path in files)
    assert "is there already" in call("--csv")[1]
    code, out, _ = call("--from-csv", *files)
    assert code == 0
    assert same(archive)
    info = load_prepared(archive).info
    assert (info["origin"], info["complete"], info["notice"]) == ("csv", True, ""), "it is all of it, byte for byte"
    assert "already prepared" in call("--from-csv", *files)[1]
    files[1].write_text(files[1].read_text().replace("\n9,", "\n8,"))
    out = call("--from-csv", *files)[1]
    assert "NOTICE: UNVERIFIED data: test_labels differ from the publisher's MNIST" in out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("label,a\n1,2\n", "line 1: 2 column(s), expected 785"),
        ("1" + ",0" * 783 + ",x\n", "line 1, column 785: a pixel is 'x'"),
        ("10" + ",0" * 784 + "\n", "line 1, column 1: the label is '10'"),
        ("", "holds no images"),
        (None, "No such file"),
    ],
)
def test_a_bad_csv_is_one_line_and_leaves_the_data(call, tmp_path, archive, text, reason):
    call("--synthetic", "--subset", 20)
    if text is not None:
        (tmp_path / "train.csv").write_text(text)
    (tmp_path / "test.csv").write_text("1" + ",0" * 784 + "\n")
    code, out, err = call("--from-csv", tmp_path / "train.csv", tmp_path / "test.csv")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert reason in err
    assert err.count("\n") == 1
    assert load_prepared(archive, verify=True).info["origin"] == "synthetic"


def break_labels(folder: Path) -> None:
    labels = idx_header(ARRAYS["train_labels"][:39]) + bytes(39)
    (folder / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def swap_files(folder: Path) -> None:
    (folder / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(ARRAYS["train_images"])))


def write_a_web_page(folder: Path) -> None:
    (folder / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>log in</html>")


def cut_a_file(folder: Path) -> None:
    path = folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (break_labels, "39 labels for 40 images"),
        (swap_files, "not an IDX file of rank 1"),
        (write_a_web_page, "web page"),
        (cut_a_file, "damaged or truncated gzip"),
    ],
)
def test_a_bad_mirror_is_one_line(call, mirror, archive, damage, reason):
    damage(Path(mirror))
    code, out, err = call("--mirror", mirror, "--allow-unverified")
    assert (code, out) == (2, "")
    assert reason in err
    assert err.count("\n") == 1
    assert not archive.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--mirror", "http://127.0.0.1:9"], "--synthetic makes stand-in data without any network"),
        (["--offline"], "--offline"),
        (["--mirror", "no such folder"], "neither a folder that exists nor"),
        (["--subset", "0"], "--subset must be at least 1, got 0"),
        (["--subset", "-5", "--synthetic"], "--subset must be at least 1, got -5"),
        (["--subset", "many"], "many"),
        (["--dataset", "imagenet"], "imagenet"),
        (["--synthetic", "--mirror", "x"], "--synthetic and --mirror are different sources"),
        (["--from-csv", "one.csv"], "from-csv"),
        (["--speed", "9"], "speed"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, archive, arguments, reason):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert reason in err
    assert err.count("\n") == 1
    assert not archive.exists()


def test_a_folder_with_other_things_is_refused_before_any_download(call, tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "fetch_file", None)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    code, _, err = call("--archive", tmp_path / "home")
    assert code == 2
    assert "thesis.tex" in err


@pytest.mark.parametrize("form", [[str(SCRIPT)], ["-m", "mlp_mnist.setup_data"]], ids=["script", "module"])
def test_it_starts_as_a_script_from_anywhere_and_as_a_module(tmp_path, form):
    place = ROOT if form[0] == "-m" else tmp_path
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, *form, "--synthetic", "--subset", "10", "--archive", str(tmp_path / "x")]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_prepared(tmp_path / "x").info["counts"] == {"train": 10, "test": 10}
