"""The same network on several workers, each with a part of the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import DTypeLike

from core.backend import Array, Device, array_module
from core.layers.base import Layer, Wrapper
from core.layers.containers import Committee
from core.layers.norm import BatchNorm
from core.layers.sequences import Sequences
from core.params import SharedParameter, flatten_gradients, pack, settle
from core.random import Stream
from core.workers import Workers, workers

ROWS_WORTH_SHARING = 16  # inference on fewer rows than this a worker is done sooner by one alone


class Parallel(Wrapper):
    """Splits a batch by rows among the workers and adds up their gradients.

    Each worker has a replica: the same weights, but activations and gradients of its own. The first one is the network
    itself. The result does not depend on the number of workers beyond rounding: batch statistics are those of the whole
    batch, dropout is drawn per sample, and the members of a `Committee` answer one after the other. A network may have
    several answers to a row, but as many to each; they stay together. Only what a Dropout drops there, or of the steps
    of sequences, depends on how the batch has been split. On a GPU, which needs no help, everything passes straight
    through.

    The state is that of the network inside: checkpoints know nothing of workers.
    """

    def __init__(self, network: Layer, pool: Workers | None = None) -> None:
        super().__init__(network)
        self.workers = pool or workers()
        self.count = self.workers.count if network.device == "cpu" else 1
        _part(network)
        self.replicas = [network, *(network.replica() for _ in range(self.count - 1))]
        # Found once: a walk through the layers takes longer than many of their operations.
        self.parameters_of = [replica.parameters() for replica in self.replicas]
        if any(isinstance(parameter, SharedParameter) for parameter in self.parameters_of[0]):
            raise ValueError("Parallel goes around a whole network, not around some of its layers: got a replica")
        if self.parameters_of[0] and all(parameter.flat is None for parameter in self.parameters_of[0]):
            pack(self.parameters_of[0])
        self._lay_out_gradients()
        self.streams = [_streams(replica) for replica in self.replicas]
        self._has_members = any(isinstance(layer, Committee) for _, layer in network.walk())
        if self.count > 1:
            for rank, replica in enumerate(self.replicas):
                _join(replica, partial(self.workers.sum, rank), updates_running=rank == 0)

    def __reduce__(self) -> tuple[type[Parallel], tuple[Layer, Workers], dict[str, bool]]:
        # In copies: replicas share the network's memory.
        return type(self), (self.network, self.workers), {"input_grad": self.input_grad}

    def to(self, device: Device | None = None, dtype: DTypeLike | None = None) -> Layer:
        """See `Layer.to`."""
        moved = Parallel(self.network.to(device, dtype), self.workers)
        self.__dict__.update(vars(moved) | {"input_grad": self.input_grad})
        return self

    def replica(self) -> Layer:
        """See `Layer.replica`; without the workers, who have enough to do."""
        return self.network.replica()

    def skip_input_grad(self) -> Layer:
        """See `Layer.skip_input_grad`; for every replica."""
        for replica in self.replicas:
            replica.skip_input_grad()
        return super().skip_input_grad()

    def forward(self, x: Array, train: bool = False) -> Array:
        shards = self._shards(len(x), train)
        if len(shards) == 1:
            self.remember(train, shards)
            return self.network.forward(x, train)
        outputs: list[Array] = [x] * len(shards)

        def run(rank: int) -> None:
            if rank < len(shards):
                start, stop = shards[rank].start, shards[rank].stop
                for stream, original in zip(self.streams[rank], self.streams[0], strict=True):
                    stream.follow(original, first_row=start, rows=stop - start)
                outputs[rank] = self.replicas[rank].forward(x[shards[rank]], train)

        self.workers.run(run)
        if isinstance(outputs[-1], Sequences):
            self.remember(train, shards)
            return Sequences.join(_filled(outputs, shards))
        answers = _filled(outputs, shards)
        count = sum(map(len, answers))
        members = self._members(count, len(x), train)
        y = self.workspace("y", (count, *answers[-1].shape[1:]), like=answers[-1])
        parts = [_by_member(answer, members) for answer in answers]
        array_module(y).concatenate(parts, axis=1, out=_by_member(y, members))
        self.remember(train, shards, y=y)
        return y

    def backward(self, dy: Array) -> Array | None:
        shards: list[slice] = self.recall(dy)
        if len(shards) == 1:
            return self.network.backward(dy)
        if self._flats != [parameter.flat for parameter in self.parameters_of[0]]:
            self._lay_out_gradients()
        inputs: list[Any] = [None] * len(shards)
        rows = shards[-1].stop
        if isinstance(dy, Sequences) and len(dy) != rows:
            raise ValueError(f"Parallel.backward expected {rows} sequences, got {len(dy)}")
        members = self._members(len(dy), rows, train=True)

        def run(rank: int) -> None:
            if rank > 0:  # what it gave last time has been added; rank 0 may be collecting several batches
                for parameter in self.parameters_of[rank]:
                    parameter.zero_grad()
            inputs[rank] = self.replicas[rank].backward(_rows_of(dy, rows, shards[rank], members))
            settle(self.parameters_of[rank])

        self.workers.run(run)
        if self.gradients:
            self.workers.run(self._add_gradients)
        if inputs[0] is None:
            return None
        if isinstance(inputs[0], Sequences):
            return Sequences.join(_filled(inputs, shards))  # type: ignore[arg-type, return-value]
        dx = self.workspace("dx", (rows, *inputs[-1].shape[1:]), like=inputs[-1])
        array_module(dx).concatenate(_filled(inputs, shards), out=dx)
        return dx

    def _shards(self, rows: int, train: bool) -> list[slice]:
        """Contiguous parts of the batch, one a worker; in training all of them, who add up BatchNorm's sums."""
        count = self.count if train else max(1, min(self.count, rows // ROWS_WORTH_SHARING))
        return [slice(rank * rows // count, (rank + 1) * rows // count) for rank in range(count)]

    def _members(self, answers: int, rows: int, train: bool) -> int:
        """How many networks have given so many answers to so many rows: in training all members of a `Committee`."""
        return answers // rows if self._has_members and train and rows else 1

    def _lay_out_gradients(self) -> None:
        """Find what to add up: stretches of gradients (size,), each the network's own and the replicas' alike.

        One stretch for all is the fastest, but an optimizer may have packed a part of the parameters, or also others.
        """
        own, *others = self.parameters_of
        self._flats = [parameter.flat for parameter in own]  # another optimizer may come and change that
        flat = own[0].flat if own else None
        places = {id(parameter): place for place, parameter in enumerate(own)}
        if flat is not None and flat.is_in_use and places.keys() == {id(parameter) for parameter in flat.parameters}:
            order = [places[id(parameter)] for parameter in flat.parameters]
            packed = (flatten_gradients([parameters[place] for place in order]) for parameters in others)
            self.gradients = [[flat.grad, *packed]]
        else:
            alike = zip(*self.parameters_of, strict=True)
            self.gradients = [[parameter.grad.reshape(-1) for parameter in parameters] for parameters in alike]

    def _add_gradients(self, rank: int) -> None:
        """Add the replicas' gradients to the network's, in the order of the ranks; each worker does a part.

        Nearly the one that it then updates, see `core.optim.Optimizer`.
        """
        count = self.workers.count
        place = count - 1 - rank
        for total, *others in self.gradients:
            part = slice(place * total.size // count, (place + 1) * total.size // count)
            for gradient in others:
                total[part] += gradient[part]


def _filled(parts: list[Array], shards: list[slice]) -> list[Array]:
    """What came of the shards that have rows, if any has: what a recurrent layer makes of none may lack its steps."""
    return [part for part, shard in zip(parts, shards, strict=True) if shard.start < shard.stop] or parts


def _rows_of(dy: Any, rows: int, shard: slice, members: int) -> Any:
    """The gradient of what a shard of so many rows has given, of all members' answers."""
    if isinstance(dy, Sequences):
        return dy[shard]
    each = len(dy) // (members * rows) if rows else 1  # a member's answers to a row
    return _by_member(dy, members)[:, shard.start * each : shard.stop * each].reshape(-1, *dy.shape[1:])


def _by_member(answers: Array, members: int) -> Array:
    """(members * N, ...) -> (members, N, ...), a view."""
    return answers.reshape(members, len(answers) // members, *answers.shape[1:])


def _part(network: Layer) -> None:
    """Undo what another Parallel around this network may have joined."""
    for _, layer in network.walk():
        if isinstance(layer, BatchNorm):
            layer.sum_over_ranks, layer.updates_running = None, True


def _join(replica: Layer, sum_over_ranks: Callable[[Array], Array], updates_running: bool) -> None:
    """Let layers that couple the samples of a batch meet those of the other replicas."""
    for _, layer in replica.walk():
        if isinstance(layer, BatchNorm):
            layer.sum_over_ranks, layer.updates_running = sum_over_ranks, updates_running


def _streams(replica: Layer) -> list[Stream]:
    """The sources of randomness of a replica, in an order that is the same for all."""
    return [layer.stream for _, layer in replica.walk() if hasattr(layer, "stream")]
