"""The guessing game: strokes as the data has them, the rules, the handlers as plain functions, and the page."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from importlib.util import find_spec

import numpy as np
import pytest
from tiny_doodles import CLASSES, NOTICE, make_archive, make_run, some_drawings

from core.data.quickdraw import MAX_POINTS, Drawings
from core.errors import UserError
from rnn_doodles import app
from rnn_doodles.belief_chart import belief_chart
from rnn_doodles.game import MOMENTS, Belief, Game, Player, new_game
from rnn_doodles.model import answer
from rnn_doodles.simplify import EPSILON, parse_pasted, ramer_douglas_peucker, resample, simplify
from rnn_doodles.trained import load_guesser


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive") / "quickdraw", parts=("train",))


@pytest.fixture
def table(run, archive):
    guesser = load_guesser(str(run))
    return app.Table(Player(guesser), app.load_examples(archive, guesser.classes), seed=0)


def on_pad(drawings, number=0, scale=1.4):
    """A stored drawing as the pad would send it."""
    strokes = [(resample(stroke.astype(float), 3.0) * scale + 11).round(1) for stroke in drawings.strokes(number)]
    return json.dumps([stroke.tolist() for stroke in strokes])


# -- strokes ----------------------------------------------------------------------------------------------------------


def distance_to_line(points, line):
    """How far each of the points (P, 2) is from a polyline (Q, 2)."""
    finely = resample(line, 0.05)
    return np.array([np.hypot(*(finely - point).T).min() for point in points])


@pytest.mark.parametrize("seed", range(5))
def test_simplified_lines_stay_within_epsilon(seed):
    walk = np.cumsum(np.random.default_rng(seed).standard_normal((80, 2)) * 6, axis=0)
    kept = ramer_douglas_peucker(walk, EPSILON)
    assert 2 < len(kept) < 80
    np.testing.assert_array_equal(kept[[0, -1]], walk[[0, -1]])
    assert distance_to_line(walk, kept).max() < 2 * EPSILON


def test_a_straight_line_keeps_its_ends_and_a_corner_stays():
    straight = np.column_stack([np.arange(50.0), np.zeros(50)])
    np.testing.assert_array_equal(ramer_douglas_peucker(straight, 2.0), straight[[0, -1]])
    corner = np.concatenate([straight, straight[-1] + np.column_stack([np.zeros(30), np.arange(1.0, 31)])])
    np.testing.assert_array_equal(ramer_douglas_peucker(corner, 2.0), [[0, 0], [49, 0], [49, 30]])
    closed = np.array([[0.0, 0], [9, 0], [9, 9], [0, 9], [0, 0]])
    assert len(ramer_douglas_peucker(closed, 2.0)) == 5, "a chord without length has no direction"


def test_a_line_of_many_points_needs_no_recursion():
    circle = np.column_stack([np.cos(np.linspace(0, 6.2, 20_000)), np.sin(np.linspace(0, 6.2, 20_000))]) * 120
    spiral = circle * np.linspace(0.1, 1, 20_000)[:, None]
    assert 10 < len(ramer_douglas_peucker(spiral, EPSILON)) < 200


def test_points_are_resampled_at_equal_distances():
    points = resample(np.array([[0.0, 0], [3, 4], [3, 10]]), 1.0)
    np.testing.assert_allclose(np.hypot(*np.diff(points, axis=0).T), 1, atol=0.1)
    np.testing.assert_array_equal(points[[0, -1]], [[0, 0], [3, 10]])
    assert len(resample(np.array([[5.0, 5], [5, 5]]))) == 1


def test_a_drawing_on_the_pad_becomes_what_the_data_would_hold():
    drawings, _ = some_drawings(200)
    for number in range(20):
        original = simplify([stroke.astype(float) for stroke in drawings.strokes(number)])
        again = simplify([np.array(stroke) for stroke in json.loads(on_pad(drawings, number))])
        assert len(again.strokes(0)) == len(original.strokes(0)) == len(drawings.strokes(number))
        assert abs(int(again.lengths[0]) - int(original.lengths[0])) <= 0.3 * original.lengths[0] + 1
        assert again.points[:, :2].max() >= 253, "resampling may miss a tip by half a pixel"
        for mine, theirs in zip(again.strokes(0), drawings.strokes(number), strict=True):
            assert distance_to_line(mine, theirs.astype(float)).max() < EPSILON + 2


def test_dots_and_endless_scribbles_can_be_simplified():
    dot = simplify([np.array([[7.0, 7.0]])])
    assert dot.points.tolist() == [[0, 0, 1]]
    scribble = np.random.default_rng(0).random((2000, 2)) * 400
    long = simplify([scribble])
    assert long.lengths.tolist() == [MAX_POINTS]
    with pytest.raises(ValueError, match="at least one point"):
        simplify([])


QUICK = [[[0, 10, 20, 255], [5, 5, 60, 7]], [[200, 255, 3], [0, 255, 4]]]


@pytest.mark.parametrize(
    "text", [json.dumps(QUICK), json.dumps({"word": "cat", "drawing": QUICK}), f"  {json.dumps(QUICK)}\n"]
)
def test_pasted_quick_draw_strokes_are_taken_as_they_are(text):
    drawing = parse_pasted(text)
    assert [stroke.T.tolist() for stroke in drawing.strokes(0)] == QUICK


def test_pasted_points_of_any_size_are_simplified():
    drawing = parse_pasted("[[[0, 0], [1000, 0], [1000, 500.5]], [[3, 4]]]")
    assert [len(stroke) for stroke in drawing.strokes(0)] == [3, 1]
    assert drawing.points[:, :2].max() == 255


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "nothing in the box"),
        ("[[[0,0],[1,1]],\n[[5,6],[7,]]]", "Expecting value at line 2, column 11"),
        ("[[[0,0],[1,1]],[[5,6],[7]]]", r"stroke 2, point 2: a point is a pair"),
        ('{"drawing": [[[1,2,3],[1,2,3]]]', "Expecting ',' delimiter at line 1, column 32"),
        ('{"drawing": [[[1,2,3],[1,2,3]]]}', "fewer than 6 points"),
        ('{"drawing": [[[1,2,3],[1,2,3]],[[1,2,256],[1,2,3]]]}', "stroke 2: a stroke is two equally long lists"),
        ('{"drawing": [[[1,2],[1,2,3]]]}', "stroke 1: a stroke is two"),
        ('{"word": "cat"}', 'has a "drawing"'),
    ],
)
def test_what_is_wrong_with_a_pasted_drawing_is_said_with_its_place(text, reason):
    with pytest.raises(UserError, match=reason):
        parse_pasted(text)


HOSTILE = [
    "[" * 5000,
    "x" * 100_000,
    "[[[1e999,0]]]",
    "[[[NaN,0]]]",
    '{"a":1}',
    "<script>",
    "[",
    "7",
    "{",
    '"a"',
    "[1,2",
]


@pytest.mark.parametrize("text", [*HOSTILE, "", "[]", "[[]]", "null"])
def test_pasted_nonsense_is_a_line_of_text(table, text):
    game, _, answer = table.on_paste(None, text)
    assert isinstance(game, Game)
    assert "bn-error" in answer
    assert "<script" not in answer


# -- the game ---------------------------------------------------------------------------------------------------------


def belief_in(number, probability):
    """A belief whose last moment gives a class this probability, and the rest to the others."""
    probabilities = np.full((3, len(CLASSES)), (1 - probability) / (len(CLASSES) - 1))
    probabilities[:, number] = probability
    return Belief(some_drawings(200)[0][0:1], np.array([2, 8, 20]), probabilities)


def test_a_round_is_won_once_by_a_sure_right_guess():
    game = Game(target=4, rounds=1)
    assert game.after(belief_in(4, 0.4)) == game, "not sure"
    assert game.after(belief_in(5, 0.9)) == game, "wrong"
    won = game.after(belief_in(4, 0.9))
    assert (won.guessed, won.score) == (True, 1)
    assert won.after(belief_in(4, 0.9)) == won, "one point a round"
    following = won.next(len(CLASSES), np.random.default_rng(0))
    assert (following.guessed, following.score, following.rounds) == (False, 1, 2)


def test_the_next_target_is_another_one_and_every_class_comes():
    rng, game = np.random.default_rng(0), new_game(len(CLASSES), np.random.default_rng(1))
    seen = set()
    for _ in range(200):
        following = game.next(len(CLASSES), rng)
        assert following.target != game.target
        game = following
        seen.add(game.target)
    assert seen == set(range(len(CLASSES)))


def test_an_answer_that_comes_after_the_next_target_is_thrown_away(table):
    gradio = pytest.importorskip("gradio")
    seat = app.Seat()
    app.going_on(lambda game: table.begin())(seat)
    drawings, _ = some_drawings(200)

    def slow(game, value):
        app.going_on(table.next_target)(seat)
        return table.on_drawing(game, value)

    same, *shown = app.answering(slow)(seat, on_pad(drawings, 0))
    assert same is seat
    assert seat.game.rounds == 2
    assert shown == [gradio.skip()] * 2
    _, board, answer = app.answering(table.on_drawing)(seat, on_pad(drawings, 0))
    assert "Round 2" in board
    assert "bn-top" in answer


def test_the_belief_ends_with_the_answer_for_the_whole_drawing(run):
    guesser = load_guesser(str(run))
    drawings, _ = some_drawings(200)
    belief = Player(guesser).watch(drawings[3:4])
    logits = answer(guesser.network, drawings[3:4])[0].astype(float)
    np.testing.assert_allclose(belief.latest, np.exp(logits) / np.exp(logits).sum(), rtol=1e-4)
    assert belief.points[-1] == drawings.lengths[3]
    assert 2 < len(belief.points) <= MOMENTS
    np.testing.assert_allclose(belief.probabilities.sum(axis=1), 1, rtol=1e-6)
    dot = Player(guesser).watch(Drawings(np.array([[0, 0, 1]], np.uint8), np.array([1], np.uint16)))
    assert dot.points.tolist() == [1]


def test_visitors_at_the_same_time_do_not_mix(run):
    player = Player(load_guesser(str(run)))
    drawings, _ = some_drawings(200)
    expected = [player.watch(drawings[n : n + 1]).latest for n in range(8)]
    wrong = []

    def visit(number):
        for _ in range(5):
            if not np.array_equal(player.watch(drawings[number : number + 1]).latest, expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_drawing_is_answered_with_guesses_a_curve_and_examples(table):
    drawings, _ = some_drawings(200)
    game, board, shown = table.on_drawing(table.begin()[0], on_pad(drawings))
    assert shown.count("bn-fill") == 3
    assert shown.count("<polyline") in (3, 4)
    assert shown.count("data:image/png") in (2, 3)
    assert CLASSES[game.target] in board
    assert "Round 1, score" in board


def test_without_data_there_are_no_examples(run, tmp_path):
    guesser = load_guesser(str(run))
    assert app.load_examples(tmp_path, guesser.classes) == {}
    other = make_archive(tmp_path / "other", parts=("train",), classes=list("0123456789"))
    assert app.load_examples(other, guesser.classes) == {}
    bare = app.Table(Player(guesser), {}, seed=0)
    assert bare.on_drawing(None, on_pad(some_drawings(200)[0]))[2].count("data:image/png") == 1


@pytest.mark.parametrize("value", ["", None, "[]", "[[]]"])
def test_an_empty_pad_is_an_invitation(table, value):
    game, _, shown = table.on_drawing(None, value)
    assert f"Draw {CLASSES[game.target]}" in shown


@pytest.mark.parametrize("value", [*HOSTILE, 7, b"x", '[[["a", 1]]]', "[[[1, 2, 3]]]"])
def test_a_hostile_drawing_is_a_line_of_text(table, value):
    _, _, shown = table.on_drawing(None, value)
    assert "bn-error" in shown
    assert "<script" not in shown


def test_thousands_of_points_are_answered(table):
    points = (np.random.default_rng(0).random((64, 31, 2)) * 400).round(1)
    _, _, shown = table.on_drawing(None, json.dumps(points.tolist()))
    assert f"{MAX_POINTS} points" in shown


def test_skipping_and_starting_again(table):
    game, board, invitation = table.begin()
    following, next_board, _, pad = table.next_target(game)
    assert pad == "[]"
    assert following.target != game.target
    assert next_board != board
    assert CLASSES[game.target] in invitation


def test_a_training_drawing_of_each_class_can_be_clicked(table, archive, run):
    to_click = table.to_click()
    assert list(to_click) == list(CLASSES)[: app.SHOWN]
    for name, strokes in to_click.items():
        expected = table.examples[CLASSES.index(name)].strokes(0)
        assert len(strokes) == len(expected)
        np.testing.assert_array_equal(strokes[0], expected[0])
    assert app.Table(table.player, {}).to_click() == {}


def test_names_are_escaped_in_the_chart():
    names = ["<b>", *CLASSES[1:]]
    chart = belief_chart(belief_in(0, 0.9), names, target=3)
    assert "<b>" not in chart
    assert "&lt;b&gt;" in chart
    assert chart.count("<polyline") == 4


def test_a_long_name_is_squeezed_into_the_chart():
    chart = belief_chart(belief_in(0, 0.9), ["cat", "dog", "The Great Wall of China", "owl"], target=2)
    assert chart.count("textLength") == 1


def test_the_page_shows_the_notice_or_how_to_begin(run, tmp_path):
    """In a process of its own, because Gradio leaves sockets open."""
    if find_spec("gradio") is None:
        pytest.skip("Gradio is not installed")
    code = (
        "from pathlib import Path; from rnn_doodles import app, trained\n"
        f"print(app.make_demo(app.Settings(run={str(run)!r})).config)\n"
        f"trained.PROJECT = Path({str(tmp_path)!r}) / 'rnn_doodles'\n"
        "print('EMPTY PAGE', app.make_demo(app.Settings()).config)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=app.PROJECT.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    full, empty = done.stdout.split("EMPTY PAGE")
    assert NOTICE in full
    assert "2-layer bidirectional GRU, 6 units" in full
    assert "python rnn_doodles/training.py" in empty


def test_a_run_that_was_asked_for_and_is_not_there_is_a_mistake():
    with pytest.raises(UserError, match="no run 'gone'"):
        app.make_demo(app.Settings(run="gone"))
