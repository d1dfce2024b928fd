"""Looking inside a training: the images that go in, and the deltas and gradients that come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.backend import Array, to_cpu
from core.data.augment import Compose
from core.layers import Sequential
from core.params import Parameter
from core.training.files import save_picture

IMAGES_SHOWN = 100


def save_images(
    path: Path, images: Array, labels: Array, classes: list[str], augment: Compose | None, notice: str
) -> None:
    """Save the first training images (N, 28, 28) as a picture, distorted as in training, and say where.

    The notice, if there is one, stands above them. Raises UserError when the disk refuses.
    """
    from core.report import galleries  # late: matplotlib takes a while, and few trainings show their images

    shown = np.asarray(images[:IMAGES_SHOWN]).astype(np.float32) / 255
    if augment is not None:
        shown = augment(shown, np.random.default_rng(0))
    captions = [[(classes[label], "black")] for label in labels[:IMAGES_SHOWN]]
    save_picture(galleries.image_grid(shown, captions, columns=10, title="training images", notice=notice), path)
    print(f"the first {len(shown)} training images: {path}")


class GradientLog:
    """A backward that writes down what passes: call it in place of `network.backward`.

    For every layer, from the last to the first: the delta dJ/dy that arrives at it, and its gradients dJ/dW and dJ/db,
    with their norm, their largest element and the upper left corner.
    """

    def __init__(self, path: Path, network: Sequential) -> None:
        self.path = path
        self.network = network
        self.step = 0
        print(f"deltas and gradients of every step: {path}")

    def __call__(self, dy: Array) -> None:
        """Run the backward of all layers and append a section to the log."""
        lines = [f"=== step {self.step} ==="]
        delta: Array | None = dy
        for name, layer in reversed(self.network.layers.items()):
            if delta is None:
                break
            lines.append(describe(f"delta at {name} {type(layer).__name__}", delta))
            delta = layer.backward(delta)
            for parameter_name, parameter in vars(layer).items():
                if isinstance(parameter, Parameter):
                    symbol = {"weight": "dJ/dW", "bias": "dJ/db"}[parameter_name]
                    lines.append(describe(f"{symbol} of {name} {type(layer).__name__}", parameter.grad))
        with open(self.path, "a", encoding="utf-8") as log:
            log.write("\n".join(lines) + "\n\n")
        self.step += 1


def describe(title: str, array: Array) -> str:
    """One array in a few lines: shape, norm, largest element, and its upper left corner."""
    array = to_cpu(array)
    corner = array.reshape(len(array), -1)[:3, :6] if array.ndim > 1 else array[:6]
    numbers = np.array2string(corner, precision=5, suppress_small=False, max_line_width=100)
    return f"{title} {array.shape}: norm {np.linalg.norm(array):.6g}, largest {np.abs(array).max():.6g}\n{numbers}"
