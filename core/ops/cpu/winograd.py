"""3 x 3 convolution with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).

Lavin and Gray 2016, arXiv:1509.09308, section 4. A tile of 4 x 4 outputs Y sees 6 x 6 inputs d. With three matrices
A, B and G, made in `_matrices`,

    Y = A^T (U * V) A,    U = G g G^T,    V = B^T d B,

where g is the kernel and * multiplies element by element: 36 products instead of 16 * 9 = 144. The sum over the input
channels moves inside the brackets, so that the 36 places become 36 matrix products (tiles, C) @ (C, K). The price is a
little rounding: outputs in float32 are good to 8e-7 instead of 2e-7.

Every step is linear, so backward takes the transposed steps in the reversed order,

    dM = A dY A^T,    dU = V^T dM,    dg = G^T dU G,    dV = dM U^T,    dd = B dV B^T,

and adds up dd where tiles overlap.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.ops.cpu.frames import Frame, ProductSum, Workspace, derived, strided
from core.ops.windows import Pair, Windows
from core.workspaces import is_constant

KERNEL = 3
TILE = 4  # outputs of a tile, in each direction
REACH = TILE + KERNEL - 1  # inputs of a tile
PLACES = REACH * REACH

# Where polynomials are evaluated, besides infinity. With the usual 0, 1, -1, 2, -2 errors would be twice as large.
POINTS = np.array([0, 5 / 8, -5 / 8, 3 / 2, -3 / 2])

# Elements of a plane, one place of all tiles of a chunk. Smaller chunks stay closer to the processor but make more
# calls, at which threads wait for the interpreter's lock: with two threads and 2 MB of second-level cache this is best
# of 4608, 6144 and 9216. But few channels give a call so little to do that up to two planes are better, and many have a
# large U, which every chunk reads anew: so a chunk has some multiplications and some tiles at least.
PLANE = 9216
MULTIPLICATIONS_AT_ONCE = 16_000_000
TILES_AT_ONCE = 64

FEWEST_CHANNELS = 8  # with fewer, the transforms cost more than the products they save
MOST_WASTE = 1.5  # the area of all tiles by that of the output
FEWEST_TILES = 24  # in the batch; with fewer, the transforms of the kernel cost more than the products they save
FEWEST_TILES_OF_CONSTANTS = 4  # where the kernel has been transformed already, but is four times as large as it was

EDGES, INNER = slice(0, REACH, REACH - 1), slice(1, REACH - 1)  # rows or columns of a tile


def _matrices() -> tuple[Array, Array, Array]:
    """A (6, 4), B (6, 6) and G (6, 3), after Cook and Toom.

    A polynomial is known by its values at as many points as it has coefficients, so the product of two comes out of the
    products of their values: A and G evaluate, the columns of B hold the polynomials that interpolate. Convolution is
    the transpose of that product. At infinity the value is the highest coefficient.
    """
    a, b, g = np.zeros((REACH, TILE)), np.zeros((REACH, REACH)), np.zeros((REACH, KERNEL))
    for i, point in enumerate(POINTS):
        others = np.delete(POINTS, i)
        a[i] = point ** np.arange(TILE)
        g[i] = point ** np.arange(KERNEL) / np.prod(point - others)
        b[:-1, i] = np.poly(others)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    b[:, -1] = np.poly(POINTS)[::-1]
    return a, b, g


A, B, G = _matrices()


def suits(x: Array, weight: Array, windows: Windows, size: Pair) -> bool:
    """Whether tiles fit these windows, and are faster: many tiles of enough channels, and not too much beyond the edge.

    x (N, H, W, C), weight (9 * C, K); `size` is that of the output, (OH, OW).
    """
    (TH, TW), fewest_channels = tiles_of(size), min(x.shape[3], weight.shape[1])
    fewest_tiles = FEWEST_TILES_OF_CONSTANTS if is_constant(weight) else FEWEST_TILES
    fits = windows.kernel == (KERNEL, KERNEL) and windows.is_dense
    waste = TH * TW * TILE**2 / (size[0] * size[1])
    return fits and fewest_channels >= FEWEST_CHANNELS and waste <= MOST_WASTE and len(x) * TH * TW >= fewest_tiles


def tiles_of(size: Pair) -> Pair:
    """How many tiles cover an output of this size, (TH, TW)."""
    return -(-size[0] // TILE), -(-size[1] // TILE)


def images_at_once(size: Pair, C: int, K: int) -> int:
    """How many images make a chunk."""
    TH, TW = tiles_of(size)
    plane, busy = PLANE // max(C, K), MULTIPLICATIONS_AT_ONCE // (PLACES * C * K)
    return max(1, max(plane, min(busy, 2 * plane), TILES_AT_ONCE) // (TH * TW))


class WinogradTiles:
    """M images cut into tiles, and the way from their inputs to their outputs and back.

    `outputs` (4, 4, TH * TW * M * K) has one plane for each place in a tile. `multiply` leaves Y there, and the
    gradients expect dY there. `size` is the part of the output that is wanted, (OH, OW) from its top left corner.

    Within a plane the images come after the tiles, so that neighbouring tiles are long stretches of memory apart.
    """

    def __init__(
        self, M: int, x: Array, weight: tuple[int, ...], padding: Pair, size: Pair, workspace: Workspace
    ) -> None:
        C, K = x.shape[3], weight[1]
        TH, TW = tiles_of(size)
        tiles = M * TH * TW
        self._workspace, self._grid = workspace, (TH, TW, M, K)
        frame_size = TILE * TH + KERNEL - 1, TILE * TW + KERNEL - 1
        self._frame = Frame("frame", M, frame_size, padding, x, workspace).clear()
        self._dframe = Frame("dframe", M, frame_size, padding, x, workspace)
        self._tiles, self._dtiles = self._tiles_in(self._frame), self._tiles_in(self._dframe)
        self._wanted = (INNER,) if self._dframe.has_border else (EDGES, INNER)
        # Little memory stays in the cache: V takes the place of d, M that of Y, and all transforms go through `half`.
        self._v = workspace("V", (REACH, REACH, tiles * C), like=x)
        self._m = workspace("M", (REACH, REACH, tiles * K), like=x)
        self.outputs = self._m.reshape(-1)[: TILE * TILE * tiles * K].reshape(TILE, TILE, -1)
        self._half = workspace("half", (max(REACH * REACH * tiles * C, REACH * TILE * tiles * K),), like=x)
        self._v36 = self._v.reshape(PLACES, tiles, C)
        self._m36 = self._m.reshape(PLACES, tiles, K)
        self._a, self._a_t, self._b, self._b_t = (matrix.astype(x.dtype, order="C") for matrix in (A, A.T, B, B.T))
        self._du = ProductSum("dU", (PLACES, C, K), x, workspace)

    def use(self, weight: Array, workspace: Workspace) -> None:
        """Begin with this weight (9 * C, K), and with no gradient; `workspace` keeps what is derived from constants."""
        self._weight = weight.reshape(KERNEL**2, -1, weight.shape[1])  # (9, C, K)
        self._u = derived(workspace, "U", weight, _transform_kernel)  # (36, C, K)
        self._u_t: Array | None = None
        self._du.clear()

    def take(self, images: Array) -> None:
        """V = B^T d B of images (M, H, W, C)."""
        self._frame.put(images)
        np.copyto(self._v.reshape(self._tiles.shape), self._tiles)
        _transform(self._b_t, self._v, self._half, self._v)

    def multiply(self) -> None:
        """Y = A^T (U V) A."""
        np.matmul(self._v36, self._u, out=self._m36)
        _transform(self._a_t, self._m, self._half, self.outputs)

    def add_weight_gradient(self) -> None:
        """dU += V^T dM with dM = A dY A^T."""
        _transform(self._a, self.outputs, self._half, self._m)
        self._du.add(self._v36.transpose(0, 2, 1), self._m36)

    def weight_gradient(self) -> Array:
        """dg = G^T dU G, as (9 * C, K)."""
        _, C, K = self._u.shape
        both = np.kron(G, G).astype(self._u.dtype)  # (36, 9)
        dg: Array = both.T @ self._du.value().reshape(PLACES, C * K)  # (9, C * K)
        return dg.reshape(KERNEL**2 * C, K)

    def input_gradient(self, dimages: Array) -> None:
        """Fill dimages (M, H, W, C) from dd = B dM U^T B^T; after `add_weight_gradient`, and consumes V."""
        np.matmul(self._m36, self._u_transposed(), out=self._v36)
        # Rows 4 and 5 of a tile are rows 0 and 1 of the one below: rows 1 to 4 collect both. Columns likewise.
        half = self._half[: self._v.size].reshape(self._v.shape)
        rows_first, columns_first = half.reshape(self._dtiles.shape), self._v.reshape(self._dtiles.shape)
        _transform_columns(self._b, self._v, half)
        rows_first[4, :, :-1] += rows_first[0, :, 1:]
        rows_first[1, :, 1:] += rows_first[5, :, :-1]
        _transform_rows(self._b, half, self._v.transpose(1, 0, 2))
        columns_first[4, :, :, :-1] += columns_first[0, :, :, 1:]
        columns_first[1, :, :, 1:] += columns_first[5, :, :, :-1]
        for rows in self._wanted:  # the sums come last, over what neighbours have left there
            for columns in self._wanted:
                np.copyto(self._dtiles[rows, columns], columns_first[columns, rows].swapaxes(0, 1))
        self._dframe.get(dimages)

    def store(self, planes: Array, images: Array) -> None:
        """Put planes (t, t, TH * TW * M * K), t places of every tile, where they belong in images (M, OH, OW, K)."""
        grid, places = self._places(planes, images)
        np.copyto(places, planes.reshape(places.shape))
        if grid is not None:
            grid.get(images)

    def load(self, images: Array, planes: Array) -> None:
        """The reverse of `store`; tiles that reach beyond the images get zeros there."""
        grid, places = self._places(planes, images)
        if grid is not None:
            grid.put(images)
        np.copyto(planes.reshape(places.shape), places)

    def convolve(self, images: Array, y: Array) -> None:
        """Fill y (M, OH, OW, K) from images (M, H, W, C)."""
        self.take(images)
        self.multiply()
        self.store(self.outputs, y)

    def backward(self, dy: Array, dimages: Array | None) -> None:
        """Add to the weight gradient, and fill dimages if it is wanted."""
        self.load(dy, self.outputs)
        self.add_weight_gradient()
        if dimages is not None:
            self.input_gradient(dimages)

    def _u_transposed(self) -> Array:
        """U (36, K, C), laid out anew: products with a transposed view take twice the time."""
        if self._u_t is None:
            C = self._weight.shape[1]
            self._u_t = _transform_kernel(self._weight.transpose(0, 2, 1).reshape(-1, C))
        return self._u_t

    def _tiles_in(self, frame: Frame) -> Array:
        """The overlapping tiles of a frame: (6, 6, TH, TW, M, C)."""
        TH, TW, M, _ = self._grid
        _, FH, FW, C = frame.pixels.shape
        return strided(frame.pixels, (REACH, REACH, TH, TW, M, C), (FW * C, C, TILE * FW * C, TILE * C, FH * FW * C, 1))

    def _places(self, planes: Array, images: Array) -> tuple[Frame | None, Array]:
        """The places (t, t, TH, TW, M, K) in the images, or in a frame around them where the tiles reach beyond."""
        TH, TW, M, K = self._grid
        side = len(planes)
        size = side * TH, side * TW
        frame = None
        if images.shape[1:3] != size:
            frame = Frame("grid", M, size, (0, 0), images, self._workspace).clear()
            images = frame.pixels
        return frame, images.reshape(M, TH, side, TW, side, K).transpose(2, 4, 1, 3, 0, 5)


def _transform(matrix: Array, planes: Array, half: Array, result: Array) -> None:
    """result[p, q] = sum over i, j of matrix[p, i] planes[i, j] matrix[q, j]; planes (I, I, L), result (P, P, L).

    `half` is memory for what lies between the two; the result may overwrite the planes.
    """
    half = half[: len(result) * planes[0].size].reshape(len(result), *planes.shape[1:])
    _transform_columns(matrix, planes, half)
    _transform_rows(matrix, half, result)


def _transform_columns(matrix: Array, planes: Array, half: Array) -> None:
    """half[p, j] = sum over i of matrix[p, i] planes[i, j]; planes (I, J, L), half (P, J, L).

    One product for each column of planes keeps them small: OpenBLAS multiplies matrices of up to a million products
    without repacking them, several times faster where one is as thin as here.
    """
    np.matmul(matrix, planes.transpose(1, 0, 2), out=half.transpose(1, 0, 2))


def _transform_rows(matrix: Array, half: Array, result: Array) -> None:
    """result[p, q] = sum over j of half[p, j] matrix[q, j]; half (P, J, L), result (P, Q, L)."""
    np.matmul(matrix, half, out=result)


def _transform_kernel(weight: Array) -> Array:
    """U = G g G^T of every pair of channels; weight (9 * C, K) -> (36, C, K)."""
    both = np.kron(G, G).astype(weight.dtype)  # (36, 9)
    return (both @ weight.reshape(KERNEL**2, -1)).reshape(PLACES, -1, weight.shape[1])
