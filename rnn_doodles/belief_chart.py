"""How the network's belief changed while the drawing grew, as an SVG picture inside HTML text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rnn_doodles.game import Belief, rank

WIDTH, HEIGHT, LEFT, BOTTOM, RIGHT, TOP = 400, 190, 40, 30, 124, 12  # so small that a telephone shows legible letters
LONG_NAME, ROOM = 12, RIGHT - 42  # letters from which a name is squeezed into so many units
LINES = (("#0072B2", ""), ("#D55E00", "8 4"), ("#009E73", "2 4"), ("#6E6E6E", "12 4 2 4"))  # told apart by dashes too


def belief_chart(belief: Belief, classes: Sequence[str], target: int) -> str:
    """Curves of the target and of what the network finds most probable now, over the points drawn."""
    shown = list(dict.fromkeys([*rank(belief.latest, 3), target]))
    across = [LEFT + (WIDTH - LEFT - RIGHT) * _share(count, belief.points) for count in belief.points]
    curves = []
    for place, (number, (colour, dash)) in enumerate(zip(shown, LINES, strict=False)):
        down = [TOP + (HEIGHT - TOP - BOTTOM) * (1 - float(p)) for p in belief.probabilities[:, number]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))
        weight, name = "bold" if number == target else "normal", classes[number]
        squeezed = f' textLength="{ROOM}" lengthAdjust="spacingAndGlyphs"' if len(name) > LONG_NAME else ""
        label_y = TOP + 14 + 20 * place
        curves.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
            f'<line x1="{WIDTH - RIGHT + 8}" x2="{WIDTH - RIGHT + 32}" y1="{label_y - 4}" y2="{label_y - 4}" '
            f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
            f'<text x="{WIDTH - RIGHT + 38}" y="{label_y}" font-weight="{weight}"{squeezed}>{escape(name)}</text>'
        )
    return (
        f'<figure class="bn-card bn-chart"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Belief over time" style="width: 100%; font: 13px sans-serif; fill: currentColor">'
        f"{_axes()}{''.join(curves)}</svg>"
        "<figcaption>What the network believed while the drawing grew, from its first points to now"
        "</figcaption></figure>"
    )


def _share(count: int, points: Sequence[int]) -> float:
    return (count - points[0]) / max(points[-1] - points[0], 1)


def _axes() -> str:
    lines = []
    for percent in (0, 50, 100):
        y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100)
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="currentColor" opacity="0.25"/>'
            f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{percent}%</text>'
        )
    for x, anchor, text in ((LEFT, "start", "first points"), (WIDTH - RIGHT, "end", "now")):
        lines.append(f'<text x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    return "".join(lines)
