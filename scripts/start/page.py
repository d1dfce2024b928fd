"""The start page of all demos as HTML text: pure functions, and every text in them is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from scripts.projects import Demo, Model

CSS = """
:root { color-scheme: light dark; --ground: #f6f8fa; --card: #fff; --text: #1b2733; --soft: #566573; --line: #d5dde5;
  --accent: #0b6aa2; --warn: #fff3d6; --warn-text: #6b4700; }
@media (prefers-color-scheme: dark) { :root { --ground: #10161c; --card: #18222c; --text: #e6edf3; --soft: #9fb0c0;
  --line: #2d3b48; --accent: #56b4e9; --warn: #3d2f0c; --warn-text: #ffdf9e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 40px; }
h1 { margin: 0; font-size: 1.9rem; } h2 { margin: 0; font-size: 1.2rem; } p { margin: 0; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 20px;
  margin-top: 24px; }
article { display: flex; flex-direction: column; background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; overflow: hidden; }
.picture { height: 190px; width: 100%; border-bottom: 1px solid var(--line); object-fit: cover; object-position: top;
  display: grid; place-items: center; font-size: 76px; background: var(--ground); }
.text { display: flex; flex-direction: column; gap: 8px; padding: 16px; flex: 1; }
.measured { font-size: .9rem; }
.notice { background: var(--warn); color: var(--warn-text); border-radius: 8px; padding: 8px 10px; font-size: .85rem;
  overflow-wrap: anywhere; }
.notice b { letter-spacing: .02em; }
form, .open { margin-top: auto; padding-top: 6px; }
button, .open a { display: inline-block; font: inherit; font-weight: 600; color: #fff; background: #0b6aa2; border: 0;
  border-radius: 9px; padding: 9px 18px; cursor: pointer; text-decoration: none; }
button:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
button[disabled] { opacity: .65; cursor: progress; }
footer { margin-top: 28px; font-size: .9rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
"""
# A demo takes a few seconds to start, and until then the browser shows this page: so it says that something happens.
# Who comes back by the browser's own button finds the page as it was left, unless it is fetched anew.
SCRIPT = """
document.addEventListener('submit', ({ target }) => {
  const button = target.querySelector('button');
  button.textContent = 'Starting …';
  setTimeout(() => { button.disabled = true; });
});
addEventListener('pageshow', event => { if (event.persisted) location.reload(); });
"""


def start_page(demos: Sequence[Demo], models: Mapping[str, Model | str], addresses: Mapping[str, str]) -> str:
    """All demos on one page.

    models: by project, the network that the demo would show, or the reason why there is none. addresses: by project,
    where those are that have been started already.
    """
    cards = "".join(_card(demo, models[demo.project], addresses.get(demo.project, "")) for demo in demos)
    return _frame(
        "barenets",
        "<h1>Six demos of networks written by hand</h1>"
        '<p class="soft">Every layer, forward and backward, in NumPy on this computer; nothing is sent anywhere. '
        "A demo starts when you open it, which takes a few seconds.</p>"
        f'<div class="cards">{cards}</div>'
        '<footer class="soft">Ctrl-C where this was started ends all of them.</footer>'
        f"<script>{SCRIPT}</script>",
    )


def _card(demo: Demo, model: Model | str, address: str) -> str:
    picture = f'<div class="picture" aria-hidden="true">{demo.emoji}</div>'
    if demo.picture.is_file():
        picture = f'<img class="picture" src="/picture/{demo.project}.png" alt="{escape(demo.title)}: the page">'
    if isinstance(model, str):
        about = f'<p class="measured"><b>No model to show:</b> {escape(model)}</p>'
    else:
        run = escape(model.weights.parent.name)
        about = f'<p class="measured">Run <code>{run}</code>: {escape(model.measured)}</p>'
        about += f'<p class="notice" role="note">{escape(model.notice)}</p>' if model.notice else ""
    title = escape(demo.title)
    door = (
        f'<form method="post" action="/open/{demo.project}"><button aria-label="Start: {title}">Start</button></form>'
        if not address
        else f'<p class="open"><a href="{escape(address)}" aria-label="Open: {title}">Open</a></p>'
    )
    return (
        f'<article id="{demo.project}">{picture}<div class="text"><h2>{escape(demo.title)}</h2>'
        f"<p>{escape(demo.sentence)}.</p>{about}{door}</div></article>"
    )


def error_page(title: str, reason: str) -> str:
    """Why something did not work, and the way back."""
    return _frame(title, f'<h1>{escape(title)}</h1><p id="reason">{escape(reason)}</p><p><a href="/">All demos</a></p>')


def _frame(title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{CSS}</style></head><body><main>{content}</main></body></html>"
    )
