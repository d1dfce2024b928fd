"""A guessing game in the browser: draw what you are told, and the network guesses while you draw.

    python rnn_doodles/app.py                           # the newest run
    python rnn_doodles/app.py --run best --port 8000

It needs the extra `demo`. Where nothing has been trained yet, it offers to do that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from core.cli import main
    from core.data.prepared import load_prepared
    from core.data.quickdraw import Drawings
    from core.demo import cards
    from core.demo.begin import Beginning, Plan
    from core.demo.begin_page import begin_page
    from core.demo.canvas import drawing_pad
    from core.demo.launch import LaunchSettings, require_gradio
    from core.demo.page import LIVE, facts, html, page, setting_of
    from core.demo.serve import serve_demo
    from core.demo.strokes import Stroke, parse_strokes
    from core.errors import UserError
    from rnn_doodles.belief_chart import belief_chart
    from rnn_doodles.game import Belief, Game, Player, new_game
    from rnn_doodles.pictures import picture
    from rnn_doodles.simplify import parse_pasted, simplify
    from rnn_doodles.trained import DATASET, Guesser, load_guesser
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

TITLE = "Doodles"
WHAT = "A recurrent network, written by hand in NumPy."
PAD = 400  # units of the drawing pad
EXAMPLES_OF_CLASS = 50
SHOWN = 10  # of them to click


@dataclass
class Settings(LaunchSettings):
    """Which network to play with, and where."""

    run: str = ""
    """Name or folder of the run; the newest one if not given."""
    data: str = ""
    """Folder of the prepared data, whose training drawings are shown as examples, if it is not the one of the run."""


def serve(settings: Settings) -> None:
    """Play with the network that `settings` name, or say how to get one."""
    serve_demo(make_demo, settings, plan(settings))


def plan(settings: Settings) -> Plan:
    """How a visitor without weights gets a small network."""
    return Plan(
        PROJECT,
        DATASET,
        title="drawings from Quick, Draw!",
        megabytes=30,
        stand_in="simple shapes, drawn by a program",
        small=("--hidden", "96", "--layers", "1", "--epochs", "6"),
    )


def make_demo(settings: Settings, beginning: Beginning | None = None) -> Any:
    """The page as a `gr.Blocks`; without trained weights it says how to get them, or gets them by `beginning`."""
    try:
        guesser = load_guesser(settings.run)
    except UserError as error:
        if settings.run:  # the visitor asked for these weights: that there are none is a mistake
            raise
        return begin_page(TITLE, WHAT, str(error), beginning or Beginning(plan(settings)))
    folder = Path(settings.data or setting_of(guesser.weights, "data") or PROJECT / "archive" / DATASET)
    return game_page(guesser, Table(Player(guesser), load_examples(folder, guesser.classes)))


def load_examples(folder: Path, classes: tuple[str, ...]) -> dict[int, Drawings]:
    """Some training drawings of each class; none where the data is not there or has other classes."""
    try:
        prepared = load_prepared(folder, ["train_points", "train_lengths", "train_labels"])
    except UserError:
        return {}
    if tuple(prepared.info["classes"]) != classes:
        return {}
    points, lengths, labels = prepared.arrays.values()
    drawings = Drawings(points, lengths)
    return {
        number: drawings[np.flatnonzero(labels == number)[:EXAMPLES_OF_CLASS]]
        for number in range(len(classes))
        if (labels == number).any()
    }


class Table:
    """Where the game is played: turns what the browser sends into HTML and the new state of the game."""

    def __init__(self, player: Player, examples: dict[int, Drawings], seed: int | None = None) -> None:
        self.player, self.classes, self.examples = player, player.classes, examples
        self.rng = np.random.default_rng(seed)

    def to_click(self) -> dict[str, list[Stroke]]:
        """A drawing of each of the first SHOWN classes, by its name."""
        first = list(self.examples.items())[:SHOWN]
        return {self.classes[number]: [stroke.astype(float) for stroke in of.strokes(0)] for number, of in first}

    def begin(self) -> tuple[Game, str, str]:
        """A new game: its state, the board, and the invitation."""
        game = new_game(len(self.classes), self.rng)
        return game, self.board(game), self.invitation(game)

    def next_target(self, game: Game | None) -> tuple[Game, str, str, str]:
        """The next round: the state, the board, the invitation, and an empty pad."""
        game = (game or self.begin()[0]).next(len(self.classes), self.rng)
        return game, self.board(game), self.invitation(game), "[]"

    def on_drawing(self, game: Game | None, value: object) -> tuple[Game, str, str]:
        """The state, the board and the answer for what the drawing pad sent; None is no game yet, as for a program."""
        game = game or self.begin()[0]
        try:
            strokes = parse_strokes(value, PAD, PAD)
        except UserError as error:
            return game, self.board(game), cards.message(str(error), "error")
        if not strokes:
            return game, self.board(game), self.invitation(game)
        return self._judge(game, simplify(strokes))

    def on_paste(self, game: Game | None, text: str | None) -> tuple[Game, str, str]:
        """The same for strokes that were pasted as JSON; they are recognised, but win nothing."""
        game = game or self.begin()[0]
        try:
            belief = self.player.watch(parse_pasted(text or ""))
        except UserError as error:
            return game, self.board(game), cards.message(str(error), "error")
        return game, self.board(game), self.answer(belief, game)

    def _judge(self, game: Game, drawing: Drawings) -> tuple[Game, str, str]:
        belief = self.player.watch(drawing)
        game = game.after(belief)
        return game, self.board(game), self.answer(belief, game)

    def board(self, game: Game) -> str:
        """What to draw and the score, as HTML."""
        name = escape(self.classes[game.target])
        news = f"Guessed: {name}!" if game.guessed else f"Draw: {name}"
        return cards.heading(news, f"Round {game.rounds}, score {game.score}")

    def invitation(self, game: Game) -> str:
        """What stands in the place of the answer before anything is drawn."""
        return cards.message(f"Draw {self.classes[game.target]}; the network guesses after every stroke.")

    def answer(self, belief: Belief, game: Game) -> str:
        """What the network believes, as HTML: its first guesses, how they came about, and examples to compare with."""
        shown = [(picture(belief.drawing, 0), "Your drawing", f"{belief.points[-1]} points, as the network gets it")]
        for number in dict.fromkeys((game.target, belief.guess)):
            if number in self.examples:
                of_class = self.examples[number]
                example = picture(of_class, int(self.rng.integers(len(of_class))))
                shown.append((example, self.classes[number], "Somebody else's, from the training data"))
        chart = belief_chart(belief, self.classes, game.target)
        return cards.answers(self.classes, belief.latest) + chart + cards.pictures(*shown)


class Seat:
    """A visitor's place: one object, so that an answer under way sees that the visitor has gone on meanwhile."""

    def __init__(self) -> None:
        self.game: Game | None = None
        self.turn = 0  # how often there was another target


def going_on(act: Callable[..., Any]) -> Callable[..., Any]:
    """`act(game)` as it is at a seat, where it sets another target."""

    def move(seat: Seat) -> tuple[Any, ...]:
        seat.turn += 1
        seat.game, *shown = act(seat.game)
        return seat, *shown

    return move


def answering(act: Callable[..., Any]) -> Callable[..., Any]:
    """`act(game, value)` as it is at a seat; the answer is thrown away if there is another target by then."""

    def move(seat: Seat, value: Any) -> tuple[Any, ...]:
        turn = seat.turn
        game, *shown = act(seat.game, value)
        if seat.turn != turn:
            return seat, *[require_gradio().skip() for _ in shown]
        seat.game = game
        return seat, *shown

    return move


def game_page(guesser: Guesser, table: Table) -> Any:
    """The page of the game."""
    gradio = require_gradio()
    subtitle = f"A {guesser.architecture} guesses what you draw: forward, backward and all, by hand in NumPy."
    with page(TITLE, subtitle, guesser.notice) as demo:
        seat = gradio.State(Seat())
        with gradio.Row(equal_height=False):
            with gradio.Column(min_width=320):
                board = html("", "board")
                pad = drawing_pad(PAD, PAD, prompt="Draw here", examples=table.to_click(), pen=PAD / 60)
                with gradio.Row():
                    skip = gradio.Button("Next target", min_width=120, elem_id="next")
                    reset = gradio.Button("Start again", min_width=120, elem_id="reset")
                with gradio.Accordion("Paste strokes as JSON", open=False):
                    pasted = gradio.Textbox(
                        label="[[[x, y], ...], ...], or a line of Quick, Draw!",
                        lines=3,
                        max_length=70_000,
                        elem_id="pasted",
                    )
                    look = gradio.Button("Recognise", elem_id="look")
            with gradio.Column(min_width=320):
                answer = html("", "answer")
                facts(guesser.weights, "drawings")
        seen = [seat, board, answer]
        demo.load(going_on(lambda game: table.begin()), seat, seen, api_visibility="private")
        reset.click(going_on(lambda game: (*table.begin(), "[]")), seat, [*seen, pad], api_visibility="private")
        skip.click(going_on(table.next_target), seat, [*seen, pad], api_visibility="private")
        pad.input(answering(table.on_drawing), [seat, pad], seen, api_name="guess", **LIVE)
        look.click(answering(table.on_paste), [seat, pasted], seen, api_name="guess_pasted")
    return demo


if __name__ == "__main__":
    main(serve, Settings, description=__doc__)
