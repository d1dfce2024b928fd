"""Visitors of a running demo: one who draws in a browser with a watch in his hand, and crowds of programs."""

from __future__ import annotations

import io
import json
import statistics
import threading
import time
import wave
from collections.abc import Iterable, Sequence
from typing import Any

from scripts.visit.demos import DRAWING, DemoError, settled, stroke

API = {project: "guess" if project == "rnn_doodles" else "predict" for project in DRAWING}  # where drawings are sent
POINTS, PAUSE = 40, 8  # of a stroke, and milliseconds between two of them
WATCH = """() => {
  window.watch = { lifted: 0, shown: 0 };
  const canvas = document.querySelector('#pad canvas');
  canvas.addEventListener('pointerup', event => { watch.lifted = event.timeStamp; }, true);
  const painted = () => requestAnimationFrame(() => setTimeout(() => { watch.shown = performance.now(); }, 0));
  new MutationObserver(painted).observe(document.querySelector('#answer'), { childList: true, subtree: true });
}"""


class RefusedError(Exception):
    """A demo answered that it could not."""


class Program:
    """A program that asks a demo over HTTP, as `gradio_client` does, but without a thread of its own."""

    def __init__(self, address: str) -> None:
        import requests

        self.address, self.session = address, requests.Session()

    def ask(self, api_name: str, *values: object) -> list[Any]:
        """What an endpoint answers to these values, sent as they are; RefusedError if it does not."""
        call = f"{self.address}gradio_api/call/{api_name}"
        body = json.dumps({"data": list(values)})  # by hand, because `requests` would refuse to send NaN
        reply = self.session.post(call, body, headers={"Content-Type": "application/json"}, timeout=60)
        if reply.status_code != 200:
            raise RefusedError(f"{reply.status_code}: {reply.text[:200]}")
        text = self.session.get(f"{call}/{reply.json()['event_id']}", timeout=120).text
        last = text.strip().rpartition("\n\n")[2]  # heartbeats come before it where the answer takes long
        kind, _, rest = last.partition("\ndata: ")
        if kind != "event: complete":
            raise RefusedError(last[:500])
        return list(json.loads(rest))

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """Upload a file; returns it as the value of an endpoint's input."""
        reply = self.session.post(f"{self.address}gradio_api/upload", files={"files": (name, content)}, timeout=60)
        reply.raise_for_status()
        return {"path": reply.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


# -- one who draws ----------------------------------------------------------------------------------------------------


def answer_times(page: Any, strokes: Sequence[Any], rounds: int) -> list[float]:
    """Milliseconds from the pen's lifting to the answer on the screen, for each stroke of a drawing, `rounds` times.

    `strokes` are given in shares of the pad. 0 is an answer that was there before the pen was lifted.
    """
    page.locator("#pad canvas").wait_for()  # the page may invite to begin before its pad is there
    page.evaluate(WATCH)
    times = []
    for _ in range(rounds + 1):
        for places in strokes:
            stroke(page, places, pause=PAUSE)
            settled(page, 600)
            watch = page.evaluate("watch")
            times.append(max(0.0, watch["shown"] - watch["lifted"]))
        page.get_by_role("button", name="Clear").click()
        settled(page, 300)
    return times[len(strokes) :]  # the first round warms up


# -- many at once -----------------------------------------------------------------------------------------------------


def visit_together(address: str, project: str, drawings: Sequence[str], clients: int, seconds: float) -> dict[str, Any]:
    """Let programs ask a demo at the same time and without a pause, for so many seconds.

    Returns how many answers came, their median, 95 % and slowest time in milliseconds, and what went wrong.
    """
    times: list[float] = []
    errors: list[str] = []
    until = time.perf_counter() + seconds

    def ask() -> None:
        program = Program(address)
        try:
            questions = list(questions_for(project, program, drawings))
            turn = 0
            while time.perf_counter() < until:
                api_name, values = questions[turn % len(questions)]
                start = time.perf_counter()
                answer = program.ask(api_name, *values)
                times.append((time.perf_counter() - start) * 1e3)
                if 'class="bn-' not in str(answer) or "bn-error" in str(answer):
                    raise RefusedError(str(answer)[:500])
                turn += 1
        except Exception as error:  # whatever it is, it is what this looks for
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not times:
        raise DemoError(f"no answer came: {errors[:1]}")
    times.sort()
    return {
        "clients": clients,
        "seconds": seconds,
        "answers": len(times),
        "errors": len(errors),
        "first errors": errors[:3],
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(times[int(0.95 * len(times))], 1),
        "slowest_ms": round(times[-1], 1),
    }


def questions_for(project: str, program: Program, drawings: Sequence[str]) -> Iterable[tuple[str, Sequence[Any]]]:
    """The endpoints that a program asks in turn, and with which values."""
    if project in DRAWING:
        return [(API[project], [drawing]) for drawing in drawings]
    if project == "cifar":
        return [("predict", [program.upload("photo.png", some_picture())])]
    sliders = [("predict_sliders", ["metal", *[float(share)] * 8]) for share in range(0, 100, 10)]
    return [("predict", [program.upload("song.wav", some_sound())]), *sliders]


def some_picture() -> bytes:
    """A PNG in colour."""
    import numpy as np
    from PIL import Image

    from core.data.shapes import textured_shapes

    png = io.BytesIO()
    Image.fromarray(np.kron(textured_shapes(1, seed=0)[0][0], np.ones((8, 8, 1), np.uint8))).save(png, "png")
    return png.getvalue()


def some_sound(seconds: int = 5, rate: int = 22_050) -> bytes:
    """A WAV file: a chord with a beat."""
    import numpy as np

    time_ = np.arange(seconds * rate) / rate
    chord = sum(np.sin(2 * np.pi * hertz * time_) for hertz in (220, 277, 330)) * (0.3 + 0.7 * (time_ * 2 % 1 < 0.3))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes((chord * 8000).astype("<i2").tobytes())
    return file.getvalue()


def send_hostile(address: str, project: str, values: Iterable[object], good: str) -> dict[str, Any]:
    """Send values that nobody draws, and then a good drawing, which must still be answered: DemoError otherwise."""
    program, counts = Program(address), {"drawn": 0, "a line of text": 0, "refused": 0}
    for value in values:
        try:
            answer = str(program.ask(API[project], value))
        except RefusedError:
            counts["refused"] += 1
        else:
            counts["a line of text" if "bn-message" in answer else "drawn"] += 1
    if "bn-message" in str(program.ask(API[project], good)):
        raise DemoError(f"{project} no longer answers a drawing")
    return counts
