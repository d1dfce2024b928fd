"""How the ways to convolve begin."""

from __future__ import annotations

from typing import Protocol

from core.backend import Array
from core.memory import is_constant
from core.ops.cpu.image_chunks import FEW
from core.ops.cpu.winograd import WinogradTiles
from core.workspaces import Workspace


class Method(Protocol):
    """A way to convolve: through tiles, or through windows."""

    def use(self, weight: Array, workspace: Workspace) -> None: ...


def begin(method: Method, x: Array, weight: Array, bias: Array | None, workspace: Workspace) -> Array | None:
    """Let a method begin with this weight; returns the bias if it is left to be added.

    Winograd's last transform adds a constant one to a few images, for which each further call costs more than it does.
    """
    if isinstance(method, WinogradTiles) and len(x) <= FEW and bias is not None and is_constant(bias):
        method.use(weight, workspace, bias)
        return None
    method.use(weight, workspace)
    return bias
