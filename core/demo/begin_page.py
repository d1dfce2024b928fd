"""The page of a demo that has no model yet: how to get one, and, for visitors at this computer, a button for it."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any
from urllib.parse import urlsplit

from core.demo import cards
from core.demo.begin import Beginning, Plan, Progress
from core.demo.launch import is_loopback, require_gradio
from core.demo.page import html, page

LOOK_EVERY = 0.7  # seconds between two looks at the progress
REAL, SYNTHETIC = "Fetch the data and train", "Train on synthetic data"
NOT_REAL = "Nothing that it shows is a real result, and the demo will say so."
# The demo takes this page's place at the same address as another Gradio app, which knows nothing of what this page asks
# for. So the page looks who is there before it asks, and loads itself again when it is the demo.
WHO_IS_THERE = """
async () => {
  for (;;) {
    try {
      const answer = await fetch('gradio_api/app_id', { cache: 'no-store' });
      if ((await answer.json()).app_id === window.gradio_config.app_id) return [];
      location.reload();
    } catch { /* between the two there is no server */ }
    await new Promise((done) => setTimeout(done, 500));
  }
}
"""


def begin_page(title: str, subtitle: str, reason: str, beginning: Beginning) -> Any:
    """Say why there is no model and which commands make one, with a button for it where `beginning` is offered."""
    gradio, plan = require_gradio(), beginning.plan
    why = f"{reason[:1].upper()}{reason[1:]}."
    with page(title, subtitle) as demo:
        if not beginning.offered:
            html(cards.no_weights(f"{why} From nothing to a trained model:", plan.commands()), "begin")
            return demo
        card = html(status_card(why, beginning.progress), "begin")
        with gradio.Row() as choices:
            with gradio.Column(min_width=280):
                real = gradio.Button(REAL, variant="primary", elem_id="begin-real")
                html(f"<p>{escape(plan.title)}, {plan.megabytes:g} MB, and about a minute of training.</p>", "real")
            with gradio.Column(min_width=280):
                made_up = gradio.Button(SYNTHETIC, elem_id="begin-synthetic")
                html(f"<p>Without a network: {escape(plan.stand_in)}. {NOT_REAL}</p>", "made-up")
        stop = gradio.Button("Stop", visible=False, elem_id="begin-stop")
        html(by_hand(plan), "by-hand")

        def look() -> tuple[Any, ...]:
            progress = beginning.progress
            runs, idle = progress.phase == "running", progress.phase in ("idle", "failed")
            return status_card(why, progress), gradio.Row(visible=idle), gradio.Button(visible=runs)

        def begin(synthetic: bool, request: Any) -> tuple[Any, ...]:
            if comes_from_here(request.headers):
                beginning.start(synthetic=synthetic)
            else:
                gradio.Warning("Open this page as localhost, on the computer that serves it, to start a training.")
            return look()

        def end() -> tuple[Any, ...]:
            beginning.stop()
            return look()

        shown = [card, choices, stop]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        for button, synthetic in ((real, False), (made_up, True)):
            button.click(with_request(partial(begin, synthetic)), None, shown, **quiet)
        stop.click(end, None, shown, **quiet)
        gradio.Timer(LOOK_EVERY).tick(look, None, shown, js=WHO_IS_THERE, **quiet)
        demo.load(look, None, shown, **quiet)
    return demo


def with_request(answer: Any) -> Any:
    """The function of one argument as one that Gradio calls with the request, which it finds by its type."""

    def handler(request):  # type: ignore[no-untyped-def]
        return answer(request)

    handler.__annotations__["request"] = require_gradio().Request
    return handler


def comes_from_here(headers: Any) -> bool:
    """Whether a request was made by this very page, opened under a name of this computer.

    A page of somebody else's, open in the same browser, can send requests too, and so can a proxy.
    """
    host, origin = str(headers.get("host", "")), headers.get("origin")
    same = origin is None or urlsplit(origin).netloc == host
    return same and is_loopback(urlsplit(f"//{host}").hostname or "")


def status_card(why: str, progress: Progress) -> str:
    """How far it is, as HTML."""
    if progress.phase == "idle":
        return _card("No trained model yet", f"<p>A small one can be made here and now.</p><p>({_with_code(why)})</p>")
    if progress.phase == "failed":
        problem = f'<p class="bn-error" role="alert">{escape(progress.line)}</p>'
        return _card("That did not work", _steps(progress) + problem)
    title, line = "On the way to a model", progress.line
    if progress.phase == "trained":
        title, line = "Here it is", "The demo opens in a moment."
    percent = f"{progress.whole:.0%}"
    bar = (
        f'<div class="bn-track bn-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent[:-1]}"><span class="bn-fill" style="width: {percent}"></span></div>'
    )
    return _card(title, f'{_steps(progress)}{bar}<p class="bn-line">{escape(line or "Working …")}</p>')


def _card(title: str, content: str) -> str:
    return f'<div class="bn-empty"><h2>{escape(title)}</h2>{content}</div>'


def _with_code(text: str) -> str:
    """Text in which `commands` stand between backquotes."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _steps(progress: Progress) -> str:
    """The list of the steps, with those behind us ticked off."""
    items = "".join(
        f'<li class="bn-{_state(progress, number)}">{escape(step.title)}</li>'
        for number, step in enumerate(progress.steps)
    )
    return f'<ol class="bn-steps">{items}</ol>'


def _state(progress: Progress, number: int) -> str:
    if progress.phase == "trained" or number < progress.now:
        return "done"
    if number > progress.now:
        return "ahead"
    return "failed" if progress.phase == "failed" else "now"


def by_hand(plan: Plan) -> str:
    """The commands, for a terminal, as HTML."""
    lines = "\n".join(escape(command) for command in plan.commands())
    text = "Or in a terminal, for the full-sized model; then start this demo again"
    return f'<details class="bn-by-hand"><summary>{text}</summary><pre><code>{lines}</code></pre></details>'
