#!/usr/bin/env python3
"""Time gradient descent song by song, 57-32-16-10, against the same loop in PyTorch, side by side in one process.

    pip install -e ".[torch]" -c constraints.txt
    python scripts/bench_music.py
    python scripts/bench_music.py --gpu      # on a GPU: fused, naive and layers as well, and PyTorch with a CUDA graph

Speed-up = a rival's median time / ours. Before anything is timed, the losses of an epoch must agree. The figures go to
scripts/results/music_cuda_epoch.json (music_cuda_gpu.json), unless other processes were busy. Everybody has one thread:
a song is too little work to share.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # before NumPy is loaded
from scripts import environment, machine
from scripts.bench.table import RESULTS
from scripts.environment import ROOT, SetupError

SONGS = 789  # the training songs of GTZAN without repetitions
LEARNING_RATE = 0.01
TIMED_LEARNING_RATE = 1e-7  # so that the weights stay where they are, over thousands of epochs
AGREEMENT = 1e-4  # relative, of the loss of an epoch
Epoch = Callable[[], float]


def main() -> int:
    arguments = _arguments()
    try:
        import numpy as np
        import torch

        from core.backend import why_no_gpu
        from scripts import benchmark
        from scripts.bench.timing import compare
    except ImportError as error:
        raise SetupError(f'{error.name} is missing: pip install -e ".[torch]" -c constraints.txt') from error
    if arguments.gpu and (why_no_gpu() or not torch.cuda.is_available()):
        raise SetupError(f"--gpu: {why_no_gpu() or 'PyTorch finds no GPU'}")
    torch.set_num_threads(1)
    make = gpu_contenders if arguments.gpu else cpu_contenders
    losses = {name: epoch() for name, epoch in make(LEARNING_RATE).items()}
    np.testing.assert_allclose(list(losses.values()), next(iter(losses.values())), rtol=AGREEMENT, err_msg=str(losses))
    result = compare(make(TIMED_LEARNING_RATE), arguments.rounds, arguments.seconds)
    rows = list(_rows(result))
    if not arguments.no_save:
        setting = {
            "network": "57-32-16-10, gradient descent song by song, an epoch of 789 songs",
            "commit": machine.commit(ROOT),
            "date": datetime.now(timezone.utc).date().isoformat(),
            "processor": torch.cuda.get_device_name() if arguments.gpu else machine.processor(),
            "threads": 1,
            "versions": benchmark.versions(),
        }
        name = "music_cuda_gpu" if arguments.gpu else "music_cuda_epoch"
        benchmark.save(arguments.results / f"{name}.json", {**setting, "measurements": rows})
    return 0


def cpu_contenders(lr: float) -> Mapping[str, Epoch]:
    """An epoch on the CPU in each way, all with the same weights and songs."""
    return {
        "ours": _ours("vectors", lr),
        "ours, by layers": _by_layers(lr),
        "PyTorch, SGD": _theirs(lr),
        "PyTorch, fused SGD": _theirs(lr, fused=True),
    }


def gpu_contenders(lr: float) -> Mapping[str, Epoch]:
    """An epoch on a GPU in each way; the song's way to the GPU is not counted, for nobody."""
    return {
        "ours, fused": _ours("fused", lr, "gpu"),
        "ours, naive": _ours("naive", lr, "gpu"),
        "ours, by layers": _by_layers(lr, "gpu"),
        "PyTorch, SGD": _theirs(lr, device="cuda"),
        "PyTorch, CUDA graph": _graphed(lr),
    }


def _songs() -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(1)
    return rng.standard_normal((SONGS, 57), dtype=np.float32), rng.integers(0, 10, SONGS)


def _network(device: str) -> Any:
    from core.optim import SGD
    from music_cuda.model import Architecture, build

    network = build(Architecture(), seed=0).to(device)  # type: ignore[arg-type]
    SGD(network.parameters())  # packs the weights side by side, as in training
    return network.skip_input_grad()


def _ours(way: str, lr: float, device: str = "cpu") -> Epoch:
    import numpy as np

    from core.backend import to_device
    from core.layers import Linear
    from music_cuda.whole_epochs import make_epoch

    x, labels = (to_device(array, device) for array in _songs())  # type: ignore[arg-type]
    linears = [layer for layer in _network(device).layers.values() if isinstance(layer, Linear)]
    epoch, order, rates = make_epoch(way, linears, x, labels, 1), np.arange(SONGS), [lr] * SONGS
    return lambda: epoch(order, rates)[0]


def _by_layers(lr: float, device: str = "cpu") -> Epoch:
    from core.backend import to_device
    from core.losses import softmax_cross_entropy
    from core.optim import SGD

    x, labels = (to_device(array, device) for array in _songs())  # type: ignore[arg-type]
    network = _network(device)
    optimizer = SGD(network.parameters())

    def epoch() -> float:
        total = 0.0
        for song in range(SONGS):
            loss, dlogits = softmax_cross_entropy(
                network.forward(x[song : song + 1], train=True), labels[song : song + 1]
            )
            network.backward(dlogits)
            optimizer.step(lr)
            total = total + loss  # stays on the device
        return float(total) / SONGS

    return epoch


def _torch_network(device: str) -> Any:
    import numpy as np
    import torch

    from core.layers import Linear

    ours = [layer for layer in _network("cpu").layers.values() if isinstance(layer, Linear)]
    modules: list[Any] = []
    for linear in ours:
        module = torch.nn.Linear(linear.in_features, linear.out_features)
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(np.array(linear.weight.data.T)))
            module.bias.zero_()
        modules += [module, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1]).to(device)


def _theirs(lr: float, device: str = "cpu", fused: bool = False) -> Epoch:
    import torch

    x, labels = (torch.from_numpy(array).to(device) for array in _songs())
    network = _torch_network(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, fused=fused)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def epoch() -> float:
        total = torch.zeros((), device=device)
        for song in range(SONGS):
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(network(x[song : song + 1]), labels[song : song + 1])
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total.item() / SONGS

    return epoch


def _graphed(lr: float) -> Epoch:
    """PyTorch's fastest: one song's step, recorded once and replayed, as its notes on CUDA graphs say.

    The recording knows addresses only: it does not keep the weights, which the epoch therefore must.
    """
    import torch

    x, labels = (torch.from_numpy(array).to("cuda") for array in _songs())
    network = _torch_network("cuda")
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, fused=True)
    cross_entropy = torch.nn.CrossEntropyLoss()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    song, label, total = x[:1].clone(), labels[:1].clone(), torch.zeros((), device="cuda")

    def step() -> None:
        loss = cross_entropy(network(song), label)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach())

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # as PyTorch asks, before a recording
            optimizer.zero_grad(set_to_none=True)
            step()
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)  # so that each replay makes gradients of its own, in the recording's memory
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    network.load_state_dict(before)

    def epoch(kept: Any = (network, optimizer)) -> float:
        total.zero_()
        for place in range(SONGS):
            song.copy_(x[place : place + 1])
            label.copy_(labels[place : place + 1])
            graph.replay()
        return total.item() / SONGS

    return epoch


def _rows(result: Any) -> Any:
    """Print the table and yield what goes into the file: the first contender against each of the others."""
    ours = next(iter(result.timings.values())).median
    print(f"an epoch of {SONGS} songs, {result.quiet} of {result.rounds} rounds quiet")
    speedups = {name: round(timing.median / ours, 2) for name, timing in result.timings.items()}
    for name, timing in result.timings.items():
        each = timing.median / SONGS * 1e3
        print(f"  {name:24} {timing.median:9.2f} ms, {each:7.1f} us a song, {speedups[name]:6.1f} x")
    yield {
        "pass": "epoch, song by song",
        "speedups": speedups,
        "milliseconds": {name: dataclasses.asdict(timing) for name, timing in result.timings.items()},
        "rounds": result.rounds,
        "quiet_rounds": result.quiet,
        "medians_over_quiet_rounds": result.only_quiet,
    }


def _arguments() -> argparse.Namespace:
    parser = environment.Parser(__doc__)
    parser.add_argument("--gpu", action="store_true", help="time the ways of a GPU")
    parser.add_argument("--rounds", type=int, default=20, help="turns of each contender (20)")
    parser.add_argument("--seconds", type=float, default=45.0, help="limit, at least three rounds (45)")
    parser.add_argument("--no-save", action="store_true", help="print only")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of the result file")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        raise SetupError(f"--rounds takes 1 or more, got {arguments.rounds}")
    return arguments


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
