"""setup_data.py of cnn_mnist100 on tiny files in MNIST's own format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_mnist import as_published, make_mirror, some_pictures

from cnn_mnist100 import setup_data
from cnn_mnist100.pairs import FOLDS, make_pairs
from cnn_mnist100.setup_data import Settings
from core.cli import main
from core.data import fetch
from core.data.image_files import idx_sha256
from core.data.prepared import load_prepared

SIZES = {"train": 10 * FOLDS, "test": 50}
DIGITS = some_pictures(SIZES, darkest=1)
STANDARD_SIZES = ["--per-class", 2, "--test-per-class", 1]


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    monkeypatch.setattr(fetch, "BACKOFF", 0)
    for variable in (fetch.MIRROR_VARIABLE, fetch.DATA_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def mirror(tmp_path) -> str:
    return make_mirror(tmp_path / "mirror", DIGITS)


@pytest.fixture
def official(monkeypatch) -> None:
    """As if the tiny files were what the publisher publishes, and 2 and 1 of each number the standard."""
    monkeypatch.setattr(setup_data, "MNIST", as_published(DIGITS))
    train = make_pairs(DIGITS["train_images"], DIGITS["train_labels"], 2, 0, FOLDS)
    test = make_pairs(DIGITS["test_images"], DIGITS["test_labels"], 1, 0)
    arrays = zip(setup_data.STANDARD, (*train[:2], *test[:2]), strict=True)
    monkeypatch.setattr(setup_data, "STANDARD", {role: idx_sha256(array) for role, array in arrays})


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Run the script's main in this process, away from the project's own archive; gives exit code, stdout, stderr."""
    monkeypatch.setattr(setup_data, "PROJECT", tmp_path / "cnn_mnist100")

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(setup_data.run, Settings, [str(argument) for argument in arguments])
        return (stop.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def archive(tmp_path) -> Path:
    return tmp_path / "cnn_mnist100" / "archive" / "mnist100"


def halves(pictures: np.ndarray) -> set[bytes]:
    return {half.tobytes() for picture in pictures for half in np.hsplit(picture, 2)}


@pytest.mark.usefixtures("official")
def test_the_standard_pairs_are_complete_and_carry_no_notice(call, mirror, archive):
    code, out, err = call("--mirror", mirror, *STANDARD_SIZES)
    assert (code, err) == (0, "")
    assert "200 training pairs of 28 x 56 pixels, 2 of each number from 00 to 99" in out
    assert "100 test pairs of 28 x 56 pixels, 1 of each number from 00 to 99" in out
    assert "NOTICE" not in out
    info = load_prepared(archive, verify=True).info
    assert (info["origin"], info["complete"], info["notice"], info["digits_shared"]) == ("mirror", True, "", False)
    assert info["counts"] == {"train": 200, "test": 100}
    assert (len(info["classes"]), info["classes"][7]) == (100, "07")
    assert info["command"] == "python cnn_mnist100/setup_data.py --per-class 2 --test-per-class 1"
    assert mirror not in str(info), "a place of this machine must not travel with the data"
    assert "already prepared" in call(*STANDARD_SIZES)[1]


@pytest.mark.usefixtures("official")
def test_training_pairs_are_of_training_digits_and_test_pairs_of_test_digits(call, mirror, archive):
    call("--mirror", mirror, *STANDARD_SIZES)
    arrays = load_prepared(archive).arrays
    train, test = ({image.tobytes() for image in DIGITS[f"{part}_images"]} for part in SIZES)
    assert halves(arrays["train_images"]) <= train
    assert halves(arrays["test_images"]) <= test
    assert not train & test
    assert sorted(arrays) == ["test_images", "test_labels", "train_folds", "train_images", "train_labels"]


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("change", [["--per-class", 3], ["--test-per-class", 2], ["--seed", 5], ["--subset", 90]])
def test_other_pairs_say_that_they_are_others(call, mirror, archive, change):
    code, out, _ = call("--mirror", mirror, *STANDARD_SIZES, *change)
    assert code == 0
    assert "NOTICE: NOT THE STANDARD PAIRS of MNIST" in out
    info = load_prepared(archive).info
    assert not info["complete"]
    assert " ".join(map(str, change)) in info["command"]
    assert "already prepared" in call("--mirror", mirror, *STANDARD_SIZES, *change)[1]
    assert "already prepared" not in call("--mirror", mirror, *STANDARD_SIZES)[1]


def test_an_unknown_copy_needs_a_flag_and_gets_a_notice(call, mirror, archive):
    code, out, err = call("--mirror", mirror, *STANDARD_SIZES)
    assert (code, out) == (2, "")
    assert "--allow-unverified" in err
    assert call("--mirror", mirror, *STANDARD_SIZES, "--allow-unverified")[0] == 0
    notice = load_prepared(archive).info["notice"]
    assert "UNVERIFIED data: train_images" in notice
    assert "not comparable" in notice
    assert "already prepared" in call("--mirror", mirror, *STANDARD_SIZES, "--allow-unverified")[1]


def test_the_stand_in_needs_nothing_and_says_so(call, archive):
    code, out, _ = call("--synthetic", "--per-class", 2, "--test-per-class", 1)
    assert code == 0
    prepared = load_prepared(archive)
    notice = "SYNTHETIC data: pairs of rendered digits, not of MNIST; no figure here is a real result"
    assert prepared.info["notice"] == notice
    assert f"NOTICE: {notice}" in out
    assert out.startswith("SYNTHETIC data in place of MNIST pairs is prepared")
    assert prepared.info["origin"] == "synthetic"
    assert prepared.arrays["train_images"].shape == (200, 28, 56)
    assert not halves(prepared.arrays["train_images"]) & halves(prepared.arrays["test_images"])


@pytest.mark.usefixtures("official")
def test_csv_out_and_in_again_is_the_same_data_with_the_same_separation(call, mirror, archive):
    out = call("--mirror", mirror, *STANDARD_SIZES, "--csv")[1]
    before = load_prepared(archive, mmap=False).arrays
    files = [archive.with_name(f"mnist100_{part}.csv") for part in SIZES]
    assert all(f"{path.name} (" in out for path in files)
    assert call("--from-csv", *files)[0] == 0
    prepared = load_prepared(archive, verify=True)
    info = prepared.info
    assert (info["origin"], info["complete"], info["notice"]) == ("csv", True, ""), "it is all of it, byte for byte"
    for name in setup_data.STANDARD:
        np.testing.assert_array_equal(prepared.arrays[name], before[name])
    images, folds = prepared.arrays["train_images"], prepared.arrays["train_folds"]
    held_out = folds < FOLDS // 2
    assert not halves(images[held_out]) & halves(images[~held_out])
    files[1].write_text(files[1].read_text().replace("\n99,", "\n98,"))
    assert "NOTICE: NOT THE STANDARD PAIRS" in call("--from-csv", *files)[1]


def test_pairs_that_share_digits_are_noticed(call, tmp_path, archive):
    pictures, labels, _ = make_pairs(DIGITS["train_images"], DIGITS["train_labels"], 8, 0, folds=1)
    for path in (tmp_path / "train.csv", tmp_path / "test.csv"):
        rows = np.column_stack([labels, pictures.reshape(len(labels), -1)])
        np.savetxt(path, rows, fmt="%d", delimiter=",")
    code, out, _ = call("--from-csv", tmp_path / "train.csv", tmp_path / "test.csv")
    assert code == 0
    assert "share too many digits: validation figures will be better than the truth" in out
    assert load_prepared(archive).info["digits_shared"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--mirror", "http://127.0.0.1:9"], "--synthetic makes stand-in data without any network"),
        (["--offline"], "--offline"),
        (["--per-class", "0"], "--per-class must lie in 1..10,000, got 0"),
        (["--test-per-class", "-1"], "--test-per-class must lie in 1..10,000, got -1"),
        (["--seed", "-1"], "--seed must lie in 0..2**64 - 1, got -1"),
        (["--seed", str(2**64)], "--seed must lie in 0..2**64 - 1, got 18446744073709551616"),
        (["--subset", "0"], "--subset must be at least 1, got 0"),
        (["--synthetic", "--mirror", "x"], "--synthetic and --mirror are different sources"),
        (["--from-csv", "a.csv", "b.csv", "--synthetic"], "--synthetic and --from-csv are different sources"),
        (["--from-csv", "a.csv", "b.csv", "--per-class", "3"], "--from-csv takes all pairs of the files"),
        (["--from-csv", "a.csv", "b.csv"], "a.csv"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, archive, arguments, reason):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert reason in err
    assert err.count("\n") == 1
    assert not archive.exists()


def test_the_standard_pairs_have_not_changed():
    """The choice of digits decides the checksums of the real pairs, so it must stay as it is for ever."""
    pictures, labels, folds = make_pairs(DIGITS["train_images"], DIGITS["train_labels"], 3, 0, FOLDS)
    assert labels[:8].tolist() == [79, 8, 65, 83, 56, 84, 0, 81]
    assert folds[:8].tolist() == [5, 17, 14, 5, 18, 14, 0, 13]
    assert idx_sha256(pictures) == "41d0cec839eb657ae5d932d4efd9ead9843f42a27c2b3c07f63b70daf626c639"
