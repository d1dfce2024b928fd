"""The geometric transforms against plain loops, against scipy where it is installed, and against their formulas."""

from functools import partial

import numpy as np
import pytest

from core.data.augment import Affine, Compose, Elastic
from core.data.sampling import sample_bilinear
from core.data.thread_buffers import ThreadBuffers
from core.data.warp import Warp, axis_basis

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 11, 14, 2), np.float32)
ROWS = RNG.uniform(-8, 18, (3, 11, 14)).astype(np.float32)  # also far outside
COLUMNS = RNG.uniform(-8, 21, (3, 11, 14)).astype(np.float32)
SCIPY_MODES = {"constant": "grid-constant", "edge": "nearest", "reflect": "mirror"}


def sample(images, rows, columns, border="constant", fill=0.0):
    out = np.empty_like(images)
    sample_bilinear(images, rows.copy(), columns.copy(), out, ThreadBuffers(), border, fill)
    return out


def warp(parts, images, draws):
    return Compose(parts).apply(images, np.asarray(draws, np.float32)).copy()


def sampling_grid(parts, draws, shape=(24, 20)):
    """Where each pixel comes from: linear ramps, which interpolation reproduces exactly, show their coordinates."""
    margin = 30  # no source lies outside
    H, W = shape[0] + 2 * margin, shape[1] + 2 * margin
    ramps = np.stack(np.meshgrid(np.arange(H), np.arange(W), indexing="ij"), axis=-1).astype(np.float32)
    Y, X = (axis_basis(n, 0, 1)[:, 1] for n in (H, W))  # centred coordinates
    result = warp(parts, np.repeat(ramps[None], len(draws), axis=0), draws)
    centre = np.array([(H - 1) / 2, (W - 1) / 2], np.float32)
    inner = (slice(None), slice(margin, -margin), slice(margin, -margin))
    points = np.stack(np.meshgrid(Y, X, indexing="ij"), axis=-1)[None]
    return (result - centre)[inner], points[inner]


def test_sampling_agrees_with_a_plain_loop():
    padded = np.pad(IMAGES, ((0, 0), (20, 20), (20, 20), (0, 0)), constant_values=0.5).astype(np.float64)
    expected = np.empty(IMAGES.shape)
    for place in np.ndindex(3, 11, 14):
        y, x = ROWS[place] + 20, COLUMNS[place] + 20
        i, j = int(y), int(x)
        a, b, c, d = padded[place[0], i : i + 2, j : j + 2].reshape(4, -1)
        expected[place] = (1 - (y - i)) * ((1 - (x - j)) * a + (x - j) * b) + (y - i) * (
            (1 - (x - j)) * c + (x - j) * d
        )
    np.testing.assert_allclose(sample(IMAGES, ROWS, COLUMNS, fill=0.5), expected, atol=3e-6)


@pytest.mark.parametrize("border", SCIPY_MODES)
def test_sampling_agrees_with_scipy_at_every_border(border):
    ndimage = pytest.importorskip("scipy.ndimage")
    rows, columns = (ROWS, COLUMNS) if border != "reflect" else (ROWS.clip(-5, 15), COLUMNS.clip(-8, 18))
    result = sample(IMAGES, rows, columns, border, fill=0.5)
    for n, channel in np.ndindex(3, 2):
        expected = ndimage.map_coordinates(
            IMAGES[n, ..., channel], [rows[n], columns[n]], order=1, mode=SCIPY_MODES[border], cval=0.5
        )
        np.testing.assert_allclose(result[n, ..., channel], expected, atol=3e-6)


def test_points_on_pixels_give_exactly_these_pixels():
    rows, columns = np.rint(ROWS), np.rint(COLUMNS)
    result = sample(IMAGES, rows, columns, fill=7.0)
    y, x = rows.astype(int), columns.astype(int)
    inside = (y >= 0) & (y < 11) & (x >= 0) & (x < 14)
    expected = np.where(inside[..., None], IMAGES[np.arange(3)[:, None, None], y.clip(0, 10), x.clip(0, 13)], 7)
    np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.mark.parametrize(("down", "right"), [(2, -1), (-2, 0), (0, 1), (1, 2)])
def test_a_shift_by_whole_pixels_is_exact(down, right):
    draws = np.full((3, 6), 0.5)
    draws[:, 4:] = 0.5 + np.array([down, right]) / 8
    result = warp([Affine(shift=4, fill=0.25)], IMAGES, draws)
    padded = np.pad(IMAGES, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=0.25)
    np.testing.assert_array_equal(result, padded[:, 4 - down : 15 - down, 4 - right : 18 - right])


def test_a_positive_angle_turns_counter_clockwise():
    square = IMAGES[:, :, :11]
    draws = np.full((3, 6), 0.5)
    draws[:, 0] = 1
    np.testing.assert_allclose(warp([Affine(rotate=90)], square, draws), np.rot90(square, axes=(1, 2)), atol=1e-5)


def content_map(affine, draw):
    """The 2 x 2 matrix R S Z and the shift t of the docstring, in float64, axes in the order y, x."""
    signed = 2 * np.asarray(draw, np.float64) - 1
    angle, lean = np.deg2rad(affine.rotate * signed[0]), np.deg2rad(affine.shear * signed[3])
    scale, stretch = 1 + affine.scale * signed[1], 1 + affine.stretch * signed[2]
    R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    S = np.array([[1, 0], [np.tan(lean), 1]])
    Z = np.diag([scale * stretch, scale / stretch])
    return R @ S @ Z, affine.shift * signed[4:6]


def test_an_affine_reads_where_the_inverse_of_its_formula_says():
    affine = Affine(rotate=30, scale=0.3, stretch=0.2, shear=25, shift=3)
    draws = RNG.random((8, 6), np.float32)
    source, q = sampling_grid([affine], draws)
    for n in range(8):
        F, t = content_map(affine, draws[n])
        expected = (q[0] - t) @ np.linalg.inv(F).T
        np.testing.assert_allclose(source[n], expected, atol=2e-5)


def test_an_affine_agrees_with_scipy():
    ndimage = pytest.importorskip("scipy.ndimage")
    affine = Affine(rotate=30, scale=0.3, stretch=0.2, shear=25, shift=3)
    draws = RNG.random((3, 6), np.float32)
    result = warp([affine], IMAGES, draws)
    centre = np.array([5, 6.5])
    for n, channel in np.ndindex(3, 2):
        F, t = content_map(affine, draws[n])
        inverse = np.linalg.inv(F)
        offset = centre - inverse @ (centre + t)
        expected = ndimage.affine_transform(IMAGES[n, ..., channel], inverse, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(result[n, ..., channel], expected, atol=1e-5)


def test_bounds_are_reached_and_kept():
    affine = Affine(rotate=30, scale=0.3, shift=3)
    low, high = affine.backward_map(np.zeros((1, 6), np.float32)), affine.backward_map(np.ones((1, 6), np.float32))
    assert np.linalg.det(low[0])[0] == pytest.approx(1 / 0.7**2, rel=1e-5)
    assert np.linalg.det(high[0])[0] == pytest.approx(1 / 1.3**2, rel=1e-5)
    assert np.arctan2(high[0][0, 0, 1], high[0][0, 0, 0]) == pytest.approx(np.deg2rad(30), rel=1e-5)
    assert np.linalg.norm(high[0] @ np.array([3, 3]) + high[1]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("sigma", [1.0, 1.5])
def test_an_elastic_with_a_mesh_of_single_pixels_is_noise_smoothed_by_scipy(sigma):
    ndimage = pytest.importorskip("scipy.ndimage")
    elastic, H, W = Elastic(alpha=5, sigma=sigma), 12, 9
    draws = RNG.random((2, elastic.columns((H, W, 1))), np.float32)
    noise = 2 * draws.reshape(2, 2, -1) - 1
    margin = int(np.ceil(3 * sigma))
    noise = noise.reshape(2, 2, H + 2 * margin, W + 2 * margin)
    coefficients = Warp([elastic])._coefficients(draws, (H, W, 1))
    source = axis_basis(H, sigma, 1) @ coefficients @ axis_basis(W, sigma, 1).T  # (2, n, H, W)
    still = np.stack(np.meshgrid(np.arange(H), np.arange(W), indexing="ij"))
    for n, axis in np.ndindex(2, 2):
        smooth = 5 * ndimage.gaussian_filter(noise[n, axis], sigma, mode="constant", truncate=30)
        expected = still[axis] + smooth[margin:-margin, margin:-margin]
        np.testing.assert_allclose(source[axis, n], expected, atol=1e-4)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 2.9, 4.0, 6.5])
def test_the_coarse_mesh_leaves_the_covariance_of_smoothed_white_noise(sigma):
    spacing = Elastic(alpha=1, sigma=sigma).spacing
    bumps = axis_basis(28, sigma, spacing)[:, :-2].astype(np.float64)
    distance = np.subtract.outer(np.arange(28), np.arange(28))
    ideal = np.exp(-(distance**2) / (4 * sigma**2)) / (2 * sigma * np.sqrt(np.pi))
    np.testing.assert_allclose(spacing * bumps @ bumps.T, ideal, atol=1e-3 * ideal.max())


def test_the_displacement_is_as_large_as_documented():
    elastic = Elastic(alpha=20, sigma=3)
    draws = RNG.random((200, elastic.columns((84, 80, 1))), np.float32)
    source, q = sampling_grid([elastic], draws)
    measured = np.sqrt(np.mean((source - q) ** 2, axis=(0, 1, 2)))
    np.testing.assert_allclose(measured, 20 / (3 * np.sqrt(12 * np.pi)), rtol=0.03)


def test_neighbours_are_composed_into_one_interpolation():
    a, b, e = Affine(rotate=10), Affine(scale=0.1), Elastic(alpha=5)
    assert [stage.parts for stage in Compose([a, b, e]).stages] == [(a, b, e)]
    assert [stage.parts for stage in Compose([a, e, b]).stages] == [(a, e), (b,)]
    assert [stage.parts for stage in Compose([a, Affine(shift=1, border="edge")]).stages] == [
        (a,),
        (Affine(shift=1, border="edge"),),
    ]


def test_the_composition_reads_where_one_transform_after_the_other_would():
    a, b, e = Affine(rotate=20, shift=2), Affine(scale=0.2, shear=10, shift=3), Elastic(alpha=20, sigma=3)
    draws = RNG.random((4, Compose([a, b, e]).columns((84, 80))), np.float32)
    combined, _ = sampling_grid([a, b, e], draws)
    elastic_only, _ = sampling_grid([e], draws[:, 12:])
    expected = elastic_only
    for part, of_part in ((b, draws[:, 6:12]), (a, draws[:, :6])):
        A, offset = part.backward_map(of_part)
        expected = np.einsum("nij,nhwj->nhwi", A, expected) + offset[:, None, None]
    np.testing.assert_allclose(combined, expected, atol=5e-5)
    assert np.abs(combined - elastic_only).max() > 1


def test_one_interpolation_blurs_less_than_two():
    half = np.full((3, 12), 0.5)
    half[:, 4], half[:, 10] = 0.75, 0.25  # half a pixel down, half a pixel up
    parts = [Affine(shift=1), Affine(shift=1)]
    np.testing.assert_array_equal(warp(parts, IMAGES, half), IMAGES)
    assert np.abs(warp(parts[1:], warp(parts[:1], IMAGES, half[:, :6]), half[:, 6:]) - IMAGES).max() > 0.1


def test_images_of_a_constant_border_stay_constant():
    flat = np.full((4, 9, 9, 1), 0.3, np.float32)
    for border in ("edge", "reflect"):
        parts = [Affine(rotate=40, shift=3, border=border), Elastic(alpha=9, sigma=2, border=border)]
        np.testing.assert_allclose(Compose(parts)(flat, np.random.default_rng(0)), 0.3, rtol=1e-5)
    parts = [Affine(rotate=40, shift=9, fill=0.3)]
    np.testing.assert_allclose(Compose(parts)(flat, np.random.default_rng(0)), 0.3, rtol=1e-5)
    assert Compose([Affine(shift=9)])(flat, np.random.default_rng(0)).min() == 0


def test_impossible_transforms_are_refused():
    for bad in ({"scale": 1.0}, {"scale": -0.1}, {"stretch": 1.5}):
        with pytest.raises(ValueError, match="Affine expected"):
            Affine(**bad)
    for bad in ({"rotate": float("nan")}, {"shear": float("inf")}, {"shift": float("nan")}):
        with pytest.raises(ValueError, match="Affine expected finite bounds"):
            Affine(**bad)
    for bad in ({"sigma": 0}, {"sigma": float("inf")}, {"alpha": float("nan")}):
        with pytest.raises(ValueError, match="positive sigma and a finite alpha"):
            Elastic(**{"alpha": 3, **bad})
    for transform in (Affine, partial(Elastic, 3)):
        with pytest.raises(ValueError, match="expected border constant, edge, reflect, got 'wrap'"):
            transform(border="wrap")
    with pytest.raises(ValueError, match="Elastic only in the last place"):
        Warp([Elastic(1), Affine()])
    with pytest.raises(ValueError, match="one border and one fill"):
        Warp([Affine(fill=1), Elastic(1)])
