"""The model file: the graph around a network, what it says of itself, and the comparison with our own answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from core.backend import Array
from core.data.sources import DATA_SETS
from core.demo.page import read_report
from core.training.trained import Trained
from mlp_mnist.trained import LEAST_SCORE
from scripts.onnx_export.graph import Graph
from scripts.onnx_export.projects import ALL_RULES, Project

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # the file format of that time, so that runtimes from ONNX Runtime 1.17 on read it
TOLERANCE = 1e-5  # of probabilities, and of logits as a share of the largest one
AT_ONCE = 512  # samples


def make_model(project: Project, trained: Trained[Any]) -> onnx.ModelProto:
    """The network as an ONNX model, from the project's input to the network's outputs and probabilities.

    Raises UserError for a layer that has no rule.
    """
    graph = Graph(ALL_RULES)
    x = project.input.begin(graph, trained)
    y = graph.channels_last(graph.layer(trained.network, x))
    if _ends_in_scores(trained):
        output = graph.add("Identity", y.name, name="scores")
        scores = graph.add("Max", output, graph.number("least_score", LEAST_SCORE))
        total = graph.add("ReduceSum", scores, graph.constant("axis_of_classes", np.array([1])), keepdims=1)
        graph.add("Div", scores, total, name="probabilities")
    else:
        output = graph.add("Identity", y.name, name="logits")
        graph.add("Softmax", output, axis=-1, name="probabilities")
    K = len(trained.classes)
    return as_model(
        graph,
        inputs=[helper.make_tensor_value_info(*tensor) for tensor in project.input.tensors(trained)],
        outputs=[_floats(output, ["N", K]), _floats("probabilities", ["N", K])],
        name=project.name,
        about=describe(project, trained),
    )


def as_model(graph: Graph, inputs: list[Any], outputs: list[Any], name: str, about: dict[str, str]) -> onnx.ModelProto:
    """A model of what the graph computes, checked by ONNX; `about` becomes its metadata, and its page for people."""
    body = helper.make_graph(graph.nodes, name, inputs, outputs, graph.constants)
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="barenets",
        doc_string="\n".join(f"{key.replace('_', ' ')}: {text}" for key, text in about.items()),
    )
    helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model


def describe(project: Project, trained: Trained[Any]) -> dict[str, str]:
    """What the file says of itself, by name; nothing that is unknown."""
    report = read_report(trained.weights) or {}
    source = DATA_SETS.get(trained.dataset)
    tensors = ", ".join(_in_words(*tensor) for tensor in project.input.tensors(trained))
    facts = {
        "project": project.name,
        "network": str(trained.architecture),
        "dataset": report.get("dataset") or (source.title if source else trained.dataset),
        "notice": trained.notice,
        "accuracy": _measured(report),
        "input": f"{tensors}: {project.input.meaning}",
        "output": f"{'scores' if _ends_in_scores(trained) else 'logits'} and probabilities (N, {len(trained.classes)})",
        "classes": json.dumps(trained.classes, ensure_ascii=False),
        "data_licence": report.get("licence") or (source.licence if source else ""),
        "citation": report.get("citation") or (source.citation if source else ""),
        "code_licence": "MIT",
        "weights_sha256": hashlib.sha256(trained.weights.read_bytes()).hexdigest(),
    }
    return {name: text for name, text in facts.items() if text}


@dataclass(frozen=True)
class Difference:
    """How far the answers of the exported network are from ours, over `samples` samples."""

    samples: int
    probabilities: float
    """The largest difference of two probabilities."""
    outputs: float
    """The largest difference of two outputs of the network, such as logits."""
    largest: float
    """The largest output."""
    same: int
    """For how many samples the most probable class is the same."""

    @property
    def is_rounding(self) -> bool:
        """Whether all is equal but for rounding (which no NaN is)."""
        return self.probabilities <= TOLERANCE and self.outputs <= TOLERANCE * max(1.0, self.largest)

    def __str__(self) -> str:
        return (
            f"probabilities differ by at most {self.probabilities:.1e}, outputs by {self.outputs:.1e} "
            f"({self.outputs / max(1.0, self.largest):.1e} of the largest, {self.largest:.1f}); "
            f"the same answer for {self.same:,} of {self.samples:,}"
        )


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    """ONNX Runtime with the model loaded, on one thread: then sums have one order, whatever the machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def compare(session: Any, project: Project, trained: Trained[Any], samples: Any) -> Difference:
    """What ONNX Runtime answers to the samples beside what our own network answers."""
    pairs: list[tuple[Array, Array]] = []
    for start in range(0, len(samples), AT_ONCE):
        some = samples[start : start + AT_ONCE]
        ours = trained.network.forward(project.input.see(trained, some)).copy()  # (n, K)
        outputs, probabilities = session.run(None, project.input.feed(some))
        pairs.append((np.stack([ours, project.probabilities(trained, ours)]), np.stack([outputs, probabilities])))
    (ours, our_shares), (theirs, their_shares) = (np.concatenate(side, axis=1) for side in zip(*pairs, strict=True))
    return Difference(
        samples=len(samples),
        probabilities=float(np.abs(our_shares - their_shares).max()),
        outputs=float(np.abs(ours - theirs).max()),
        largest=float(np.abs(ours).max()),
        same=int((our_shares.argmax(axis=1) == their_shares.argmax(axis=1)).sum()),
    )


def _ends_in_scores(trained: Trained[Any]) -> bool:
    return bool(getattr(trained.architecture, "sigmoid_output", False))


def _floats(name: str, shape: list[str | int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _in_words(name: str, kind: int, shape: list[str | int]) -> str:
    axes = ", ".join(map(str, shape))
    return f"{name} {helper.tensor_dtype_to_np_dtype(kind)} ({axes}{',' if len(shape) == 1 else ''})"


def _measured(report: dict[str, Any]) -> str:
    """The measured accuracy in words; "" where there is no report on these weights."""
    if not report:
        return ""
    share = report["accuracy"]
    return (
        f"{share['value']:.2%} of {report['images']:,} test samples "
        f"(95 % interval {share['low']:.2%} to {share['high']:.2%}), {report['date'][:10]}"
    )
