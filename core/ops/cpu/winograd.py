"""3 x 3 convolution with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).

Lavin and Gray 2016, arXiv:1509.09308, section 4. A tile of 4 x 4 outputs Y sees 6 x 6 inputs d. With three matrices
A, B and G, see `Form`,

    Y = A^T (U * V) A,    U = G g G^T,    V = B^T d B,

where g is the kernel and * multiplies element by element: 36 products instead of 16 * 9 = 144. The sum over the input
channels moves inside the brackets, so that the 36 places become 36 matrix products (tiles, C) @ (C, K). The price is a
little rounding: outputs in float32 are good to 8e-7 instead of 2e-7.

Every step is linear, so backward takes the transposed steps in the reversed order,

    dM = A dY A^T,    dU = V^T dM,    dg = G^T dU G,    dV = dM U^T,    dd = B dV B^T,

and adds up dd where tiles overlap.

For an image so small that few tiles cover it, reading U takes longer than the products: there F(2 x 2, 3 x 3), with a U
of 16 places instead of 36, is faster. Below, t is the side of a tile, 4 or 2, and r that of what it sees, 6 or 4.
"""

from __future__ import annotations

import numpy as np

from core.backend import Array
from core.memory import aligned, empty, is_constant
from core.ops.cpu.frames import Frame, strided
from core.ops.cpu.products import MOST_MULTIPLICATIONS, PANEL, ProductSum, equal_pieces, product
from core.ops.windows import Pair, Windows
from core.workspaces import Workspace, derived, scratch

KERNEL = 3

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
LEAST_KERNEL_OF_SMALL_TILES = 1 << 16  # C * K; products with smaller ones are over sooner than transforms

FEW_TILES = 8  # with which a product takes no longer than reading U, faster where that lies in panels, see `products`


class Form:
    """F(t x t, 3 x 3) with t = points - 1: its matrices A (r, t), B (r, r) and G (r, 3), after Cook and Toom.

    A polynomial is known by its values at as many points as it has coefficients, so the product of two comes out of the
    products of their values: A and G evaluate, the columns of B hold the polynomials that interpolate. Convolution is
    the transpose of that product. Besides the given points there is infinity, where the value is the highest
    coefficient.
    """

    def __init__(self, *points: float) -> None:
        self.tile = len(points) - KERNEL + 2  # outputs, in each direction
        self.reach = self.tile + KERNEL - 1  # inputs
        self.places = self.reach**2
        self.edges, self.inner = slice(0, self.reach, self.reach - 1), slice(1, self.reach - 1)  # of a tile's inputs
        a, b, g = (np.zeros((self.reach, size)) for size in (self.tile, self.reach, KERNEL))
        for i, point in enumerate(points):
            others = np.delete(points, i)
            a[i] = point ** np.arange(self.tile)
            g[i] = point ** np.arange(KERNEL) / np.prod(point - others)
            b[:-1, i] = np.poly(others)[::-1]
        a[-1, -1] = g[-1, -1] = 1
        b[:, -1] = np.poly(points)[::-1]
        self.a, self.b, self.g = a, b, g

    def tiles_of(self, size: Pair) -> Pair:
        """How many tiles cover an output of this size, (TH, TW)."""
        return -(-size[0] // self.tile), -(-size[1] // self.tile)

    def images_at_once(self, size: Pair, C: int, K: int) -> int:
        """How many images make a chunk."""
        TH, TW = self.tiles_of(size)
        plane, busy = PLANE // max(C, K), MULTIPLICATIONS_AT_ONCE // (self.places * C * K)
        return max(1, max(plane, min(busy, 2 * plane), TILES_AT_ONCE) // (TH * TW))


LARGE = Form(0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)  # with the usual 0, 1, -1, 2, -2 errors would be twice as large
SMALL = Form(0, 1, -1)


def form_for(x: Array, weight: Array, windows: Windows, size: Pair) -> Form | None:
    """The form that is faster than lining up windows; None where there is none, or where tiles do not fit these.

    It takes many tiles of enough channels, and not too much beyond the edge. x (N, H, W, C), weight (9 * C, K); `size`
    is that of the output, (OH, OW).
    """
    C, K = x.shape[3], weight.shape[1]
    if windows.kernel != (KERNEL, KERNEL) or not windows.is_dense or min(C, K) < FEWEST_CHANNELS:
        return None
    if not is_constant(weight):
        return LARGE if _covers(LARGE, len(x), size, FEWEST_TILES) else None
    forms = (LARGE, SMALL) if C * K >= LEAST_KERNEL_OF_SMALL_TILES else (LARGE,)
    return next((form for form in forms if _covers(form, len(x), size, FEWEST_TILES_OF_CONSTANTS)), None)


def _covers(form: Form, N: int, size: Pair, fewest: int) -> bool:
    """Whether so many tiles at least cover N images, without too much waste."""
    TH, TW = form.tiles_of(size)
    area, wanted = TH * TW * form.tile**2, size[0] * size[1]
    return fewest <= N * TH * TW and area <= MOST_WASTE * wanted


class WinogradTiles:
    """M images cut into tiles, and the way from their inputs to their outputs and back.

    `outputs` (t, t, TH * TW * M * K) has one plane for each place in a tile. `multiply` leaves Y there, and the
    gradients expect dY there. `size` is the part of the output that is wanted, (OH, OW) from its top left corner.

    Within a plane the images come after the tiles, so that neighbouring tiles are long stretches of memory apart.
    """

    def __init__(
        self, form: Form, M: int, x: Array, weight: tuple[int, ...], padding: Pair, size: Pair, workspace: Workspace
    ) -> None:
        C, K, t, r = x.shape[3], weight[1], form.tile, form.reach
        TH, TW = form.tiles_of(size)
        tiles = M * TH * TW
        self._form, self._workspace, self._grid = form, workspace, (TH, TW, M, K)
        frame_size = t * TH + KERNEL - 1, t * TW + KERNEL - 1
        self._frame = Frame("frame", M, frame_size, padding, x, workspace).clear()
        self._dframe = Frame("dframe", M, frame_size, padding, x, workspace)
        self._dtiles = self._tiles_in(self._dframe)
        self._wanted = (form.inner,) if self._dframe.has_border else (form.edges, form.inner)
        # Little memory stays in the cache: V takes the place of what its lines are transformed to, M that of Y, and all
        # transforms go through `half`.
        self._v = scratch(workspace, "V", (r, r, tiles * C), x)
        self._seen, self._lines, self._tiles = self._lines_of_tiles()
        self._m = scratch(workspace, "M", (r, r, tiles * K), x)
        self.outputs = self._m.reshape(-1)[: t * t * tiles * K].reshape(t, t, -1)
        self._half = scratch(workspace, "half", (max(r * r * tiles * C, r * t * tiles * K),), x)
        self._half_of_outputs = self._half[: t * r * tiles * K].reshape(t, r, -1)
        self._v_by_place = self._v.reshape(form.places, tiles, C)
        self._m_by_place = self._m.reshape(form.places, tiles, K)
        matrices = form.a, form.a.T, form.b, form.b.T
        self._a, self._a_t, self._b, self._b_t = (matrix.astype(x.dtype, order="C") for matrix in matrices)
        self._bias: Array | None = None
        self._last_a_t = self._a_t
        self._du = ProductSum("dU", (form.places, C, K), x, workspace)

    def use(self, weight: Array, workspace: Workspace, bias: Array | None = None) -> None:
        """Begin with this weight (9 * C, K), and with no gradient; `workspace` keeps what is derived from constants.

        A constant bias (K,) becomes part of the outputs.
        """
        self._weight = weight.reshape(KERNEL**2, -1, weight.shape[1])  # (9, C, K)
        form, (places, tiles, K) = self._form, self._m_by_place.shape
        count = K // PANEL if tiles <= FEW_TILES and K % PANEL == 0 and is_constant(weight) else 1

        def transform(weight: Array) -> Array:
            return _panels(_transform_kernel(form, weight), count)

        self._u = derived(workspace, f"U of {places} places in {count} panels", weight, transform)
        self._products = self._m_by_place.reshape(places, tiles, count, -1).transpose(0, 2, 1, 3)
        self._u_t: Array | None = None
        self._du.clear()
        if bias is not self._bias:
            self._add(bias)

    def _add(self, bias: Array | None) -> None:
        """Make a bias part of Y's last transform: one more plane, of the bias, with ones for it in A."""
        t, r = self._form.tile, self._form.reach
        self._bias, self._last_a_t, self._half_of_outputs = bias, self._a_t, self._half_of_outputs[:, :r]
        if bias is not None:
            self._last_a_t = np.concatenate([self._a_t, np.ones_like(self._a_t[:, :1])], axis=1)  # (t, r + 1)
            self._half_of_outputs = self._workspace("half with bias", (t, r + 1, self._m[0, 0].size), like=self._m)
            self._half_of_outputs.reshape(t, r + 1, -1, len(bias))[:, r] = bias

    def take(self, images: Array) -> None:
        """V = B^T d B of images (M, H, W, C)."""
        self._frame.put(images)
        np.matmul(self._b_t, self._seen, out=self._lines)
        half = self._half[: self._v.size].reshape(self._v.shape)
        np.copyto(half.reshape(self._tiles.shape), self._tiles)
        _transform_rows(self._b_t, half, self._v)

    def multiply(self) -> None:
        """Y = A^T (U V) A, and the bias."""
        product(self._v_by_place[:, None], self._u, self._products)
        _transform_columns(self._a_t, self._m, self._half_of_outputs[:, : self._form.reach])
        _transform_rows(self._last_a_t, self._half_of_outputs, self.outputs)

    def add_weight_gradient(self) -> None:
        """dU += V^T dM with dM = A dY A^T."""
        _transform(self._a, self.outputs, self._half, self._m)
        self._du.add(self._v_by_place.transpose(0, 2, 1), self._m_by_place)

    def weight_gradient(self) -> Array:
        """dg = G^T dU G, as (9 * C, K)."""
        _, C, K = self._weight.shape
        both = np.kron(self._form.g, self._form.g).astype(self._weight.dtype)  # (r * r, 9)
        dg: Array = both.T @ self._du.value().reshape(-1, C * K)  # (9, C * K)
        return dg.reshape(KERNEL**2 * C, K)

    def input_gradient(self, dimages: Array) -> None:
        """Fill dimages (M, H, W, C) from dd = B dM U^T B^T; after `add_weight_gradient`, and consumes V."""
        product(self._m_by_place, self._u_transposed(), self._v_by_place)
        # The last two rows of a tile are the first two of the one below: all but the outermost collect both, and so do
        # columns.
        t, last = self._form.tile, self._form.reach - 1
        half = self._half[: self._v.size].reshape(self._v.shape)
        rows_first, columns_first = half.reshape(self._dtiles.shape), self._v.reshape(self._dtiles.shape)
        _transform_columns(self._b, self._v, half)
        rows_first[t, :, :-1] += rows_first[0, :, 1:]
        rows_first[1, :, 1:] += rows_first[last, :, :-1]
        _transform_rows(self._b, half, self._v.transpose(1, 0, 2))
        columns_first[t, :, :, :-1] += columns_first[0, :, :, 1:]
        columns_first[1, :, :, 1:] += columns_first[last, :, :, :-1]
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
            grid.clear().put(images)
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
        """U (r * r, K, C), laid out anew: products with a transposed view take twice the time."""
        if self._u_t is None:
            C = self._weight.shape[1]
            self._u_t = _transform_kernel(self._form, self._weight.transpose(0, 2, 1).reshape(-1, C))
        return self._u_t

    def _lines_of_tiles(self) -> tuple[Array, Array, Array]:
        """What the first half of B^T d B works on: whole lines, so that tiles side by side share what is done to them.

        Returns views of the frame, for each row of tiles the r lines that it sees, and of V's memory, for the products
        of B^T with them: both (M, TH, pieces, r, FW * C / pieces), since OpenBLAS multiplies small pieces without
        laying them out anew. And the tiles to be cut out of the products, (r, r, TH, TW, M, C). The products fit into
        V's memory, which has room for r columns a tile where they have t, and two more a line.
        """
        TH, TW, M, _ = self._grid
        _, FH, FW, C = self._frame.pixels.shape
        t, r, line = self._form.tile, self._form.reach, FW * C
        pieces = equal_pieces(line, -(-r * r * line // MOST_MULTIPLICATIONS))
        seen = strided(
            self._frame.pixels, (M, TH, pieces, r, line // pieces), (FH * line, t * line, line // pieces, line, 1)
        )
        lines = self._v.reshape(-1)[: seen.size].reshape(M, TH, r, pieces, -1)
        tiles = strided(lines, (r, r, TH, TW, M, C), (line, C, r * line, t * C, TH * r * line, 1))
        return seen, lines.transpose(0, 1, 3, 2, 4), tiles

    def _tiles_in(self, frame: Frame) -> Array:
        """The overlapping tiles of a frame: (r, r, TH, TW, M, C)."""
        TH, TW, M, _ = self._grid
        _, FH, FW, C = frame.pixels.shape
        t, r = self._form.tile, self._form.reach
        return strided(frame.pixels, (r, r, TH, TW, M, C), (FW * C, C, t * FW * C, t * C, FH * FW * C, 1))

    def _places(self, planes: Array, images: Array) -> tuple[Frame | None, Array]:
        """The places (t, t, TH, TW, M, K) in the images, or in a frame around them where the tiles reach beyond."""
        TH, TW, M, K = self._grid
        side = len(planes)
        size = side * TH, side * TW
        frame = None
        if images.shape[1:3] != size:
            frame = Frame("grid", M, size, (0, 0), images, self._workspace)
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


def _transform_kernel(form: Form, weight: Array) -> Array:
    """U = G g G^T of every pair of channels; weight (9 * C, K) -> (r * r, C, K)."""
    both = np.kron(form.g, form.g).astype(weight.dtype)  # (r * r, 9)
    u = empty((form.places, weight.size // KERNEL**2), weight.dtype, weight)
    np.matmul(both, weight.reshape(KERNEL**2, -1), out=u)
    return u.reshape(form.places, -1, weight.shape[1])


def _panels(u: Array, count: int) -> Array:
    """U (r * r, C, K) as panels of columns, each in one piece: (r * r, count, C, K / count)."""
    places, C, K = u.shape
    return aligned(u.reshape(places, C, count, K // count).transpose(0, 2, 1, 3))
