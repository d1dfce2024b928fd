"""Every layer, written in ONNX, computes in ONNX Runtime what it computes here."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_runs import make_run, shaken

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from core import layers  # noqa: E402
from core.gradcheck import layer_cases  # noqa: E402
from core.kernels.emulated import emulated_gpu  # noqa: E402
from core.layers import Layer, Linear, MeanState, MixedPrecision, Parallel, ReLU, Sequences, Sequential  # noqa: E402
from core.workers import Workers  # noqa: E402
from scripts.onnx_export.graph import Graph, Steps, Value  # noqa: E402
from scripts.onnx_export.model import as_model, session_of  # noqa: E402
from scripts.onnx_export.projects import ALL_RULES, PROJECTS, load  # noqa: E402

RNG = np.random.default_rng(0)


def small_network() -> Layer:
    return Sequential(Linear(4, 3, rng=RNG), ReLU())


def some_layers():
    yield from layer_cases(RNG)
    images = RNG.standard_normal((3, 6, 5, 4))
    yield "Parallel", Parallel(small_network(), Workers(1)), images
    with emulated_gpu():
        mixed = MixedPrecision(small_network().to("gpu")).to("cpu")  # it can be built on a GPU only
    yield "MixedPrecision", mixed, images
    yield "LeakyReLU, another slope", layers.LeakyReLU(0.3), images
    yield "LayerNorm, another eps", layers.LayerNorm(4, eps=0.3), images
    yield "BatchNorm, another eps", layers.BatchNorm(4, eps=0.3), images
    same = layers.Conv2d(4, 4, 3, rng=RNG, padding=1)
    yield "Residual, images and rows", layers.Residual(same, Linear(4, 4, rng=RNG)), images
    yield "Residual, rows and images", layers.Residual(Linear(4, 4, rng=RNG), same), images
    shrink = layers.Conv2d(4, 2, 1, rng=RNG)
    yield "images to channels last, and back", Sequential(shrink, layers.LayerNorm(2), layers.MaxPool2d(2)), images
    deep = Sequential(layers.GRU(3, 4, rng=RNG), layers.LSTM(4, 2, rng=RNG, bidirectional=True), MeanState())
    yield "one recurrent layer upon another", deep, RNG.standard_normal((4, 5, 3))
    steps = Sequential(layers.LSTM(4, 2, rng=RNG), layers.EachStep(Linear(2, 4, rng=RNG)))
    mixed_forms = Sequential(layers.GRU(3, 4, rng=RNG), layers.Residual(steps), layers.GRU(4, 2, rng=RNG), MeanState())
    yield "Residual, steps and states", mixed_forms, RNG.standard_normal((4, 5, 3))


CASES = {name: (layer, x.astype(np.float32)) for name, layer, x in some_layers()}


def run_layer(layer: Layer, feeds: dict[str, np.ndarray], rank: int, start=lambda graph: Value("x")) -> np.ndarray:
    """What ONNX Runtime makes of the feeds: an array of `rank` axes; `start` begins the graph."""
    graph = Graph(ALL_RULES)
    y = graph.channels_last(graph.layer(layer, start(graph)))
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.helper.np_dtype_to_tensor_dtype
    inputs = [tensor(name, kind(array.dtype), ["N", *array.shape[1:]]) for name, array in feeds.items()]
    outputs = [tensor(y.name, onnx.TensorProto.FLOAT, [None] * rank)]
    model = as_model(graph, inputs, outputs, "layer", {})
    return session_of(model.SerializeToString()).run(None, feeds)[0]


@pytest.mark.parametrize("name", CASES)
def test_a_layer_gives_the_same_output(name):
    layer, x = CASES[name]
    single = shaken(layer if isinstance(layer, Parallel | MixedPrecision) else layer.replica().to(dtype=np.float32))
    for batch in (x, x[:1]):
        expected = single.forward(batch)
        np.testing.assert_allclose(run_layer(single, {"x": batch}, expected.ndim), expected, rtol=1e-5, atol=2e-6)


RAGGED = np.array([3, 7, 1, 7, 4])
READERS = {
    "last state, RNN": Sequential(layers.RNN(3, 5, rng=RNG, num_layers=2, bidirectional=True), layers.LastState()),
    "last state, GRU": Sequential(layers.GRU(3, 5, rng=RNG, num_layers=2, bidirectional=True), layers.LastState()),
    "last state, LSTM": Sequential(layers.LSTM(3, 5, rng=RNG, num_layers=2, bidirectional=True), layers.LastState()),
    "mean state, GRU": Sequential(layers.GRU(3, 5, rng=RNG, bidirectional=True), MeanState()),
    "mean of the input": MeanState(),
}


@pytest.mark.parametrize("name", READERS)
def test_nothing_is_read_behind_the_end_of_a_sequence(name):
    network = shaken(READERS[name])
    sequences = Sequences.pack(RNG.standard_normal((RAGGED.sum(), 3), np.float32), RAGGED)
    feeds = {"x": sequences.to_padded(fill=1e3), "lengths": RAGGED}
    y = run_layer(network, feeds, 2, lambda graph: Steps(graph.add("Transpose", "x", perm=[1, 0, 2]), "lengths"))
    np.testing.assert_allclose(y, network.forward(sequences), rtol=1e-5, atol=2e-6)


def classes_below(layer: type[Layer]) -> set[type[Layer]]:
    return {layer}.union(*(classes_below(kind) for kind in layer.__subclasses__()))


def test_no_layer_is_forgotten():
    """What only others build upon is in no list of layers, and no network is made of it."""
    offered = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, Layer)} - {Layer}
    names = {project.name for project in PROJECTS}
    of_projects = {kind for kind in classes_below(Layer) if kind.__module__.split(".")[0] in names}
    assert len(of_projects) >= 4
    assert set(ALL_RULES) == offered | of_projects


def test_every_rule_for_a_layer_of_core_is_tried():
    tried = {type(part) for layer, _ in CASES.values() for _, part in [("", layer), *layer.walk()]}
    assert {kind for kind in ALL_RULES if kind.__module__.startswith("core.")} - tried == set()


def test_normal_scores_agree_at_every_knot_and_on_both_sides(tmp_path):
    _, trained = load(make_run(tmp_path, "music_cuda, committee") / "best.safetensors")
    knots = trained.network.layers["0"].knots.T  # (K, D) normalised features
    assert (np.diff(knots, axis=0) == 0).any()
    around = np.concatenate([knots, np.nextafter(knots, -np.inf), np.nextafter(knots, np.inf), knots * 3])
    first = Sequential(trained.network.layers["0"])
    y = run_layer(first, {"x": around}, 2)
    np.testing.assert_allclose(y, first.forward(around), rtol=1e-5, atol=2e-6)
