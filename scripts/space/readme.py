"""The pages and lists of a Space's folder, as text."""

from __future__ import annotations

import json

from scripts.projects import Demo, Model

# The hub takes pictures and weights through Git LFS only.
GIT_ATTRIBUTES = "".join(f"*.{kind} filter=lfs diff=lfs merge=lfs -text\n" for kind in ("safetensors", "png"))


def front_matter(demo: Demo, gradio: str, python: str) -> str:
    """The settings of a Space, as YAML (huggingface.co/docs/hub/spaces-config-reference)."""
    settings = {
        "title": demo.title,
        "emoji": demo.emoji,
        "colorFrom": "blue",
        "colorTo": "indigo",
        "sdk": "gradio",
        "sdk_version": gradio,
        "python_version": python,
        "app_file": "app.py",
        "pinned": False,
        "license": "mit",
        "short_description": demo.sentence,
    }
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in settings.items())  # JSON is YAML
    return f"---\n{''.join(lines)}---\n"


def readme(demo: Demo, model: Model, sha256: str) -> str:
    """What visitors read about the Space: notice, accuracy, how to start it, licences."""
    run = f"{demo.project}/runs/{model.weights.parent.name}"
    report = model.report or {}
    card = f"The [model card]({run}/report/model_card.md) has the whole report." if report else ""
    data = f"{report['licence']} ({report['citation']})" if report.get("licence") else "see its publisher"
    sections = [
        f"# {demo.title}",
        f"> **{model.notice}**" if model.notice else "",
        f"{demo.sentence}. Every layer, forward and backward, is written by hand in NumPy; no deep-learning framework "
        "has computed anything in it.",
        f"Measured on the test data: {model.measured}. {card}" if report else "This network has not been measured yet.",
        "```\npip install -r requirements.txt\npython app.py\n```",
        f"Weights: `{run}/{model.weights.name}`, SHA-256 `{sha256}`. `app.py` starts with no others.",
        f"Code: MIT licence. Training data: {data}; none of it is in this folder but for the examples in the report.",
        f"Made with `python scripts/export_space.py {demo.project}` of barenets.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"
