"""Many matches of one shape as one tensor program: every weight has a leading axis, one slice a seed.

Numerically these are the runs of `Match`, seed by seed, to rounding: each has its own random stream, its own loss and
so its own gradient. One large kernel costs less than six small ones, and would fill a GPU.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ganlib.networks import rowwise
from ganlib.training import Match, Players, Round, Snapshot, named, rounds


class BatchedLinear(nn.Module):
    """s linear layers at once: (s, n, inputs) -> (s, n, outputs)."""

    rowwise = True

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        # (s, outputs, inputs) and (s, outputs)
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class Stack(nn.Module):
    """s networks at once through `vmap`: (s, n, ...) -> (s, n, ...). Any network: each sees only its own slice."""

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        self.network = copy.deepcopy(networks[0])
        weights, buffers = stack_module_state(list(networks))
        for name, value in weights.items():
            place, attribute = _place(self.network, name)
            setattr(
                place, attribute, nn.Parameter(value.detach(), place.get_parameter(attribute).requires_grad)
            )
        for name, value in buffers.items():
            place, attribute = _place(self.network, name)
            setattr(place, attribute, value)
        if hasattr(self.network, "latent_dim"):
            self.latent_dim = self.network.latent_dim

    def forward(self, *inputs: Tensor) -> Tensor:
        state = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
        return vmap(lambda state, *x: functional_call(self.network, state, x))(state, *inputs)


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """Networks of one shape as one network, (s, n, ...) -> (s, n, ...): network i on slice i. They are copied.

    Parameters keep their names (after "network." unless all layers are known to be rowwise, which is faster) and gain a
    leading axis, so network i comes back with
    `network.load_state_dict({name: values[i] for name, values in stacked.state_dict().items()})`.
    Raises ValueError for no networks, and for networks that differ in more than the values of their weights.
    """
    networks = list(networks)
    if not networks:
        raise ValueError("expected at least one network to stack, got none")
    first, *others = map(_anatomy, networks)
    for other in others:
        if different := [name for name in first | other if first.get(name) != other.get(name)]:
            raise ValueError(
                f"expected networks that differ in their weights alone, these also in {different[0]}"
            )
    linear = [(name, layer) for name, layer in networks[0].named_modules() if isinstance(layer, nn.Linear)]
    if not rowwise(networks[0]) or any(layer.bias is None for _, layer in linear):
        return Stack(networks)
    if isinstance(networks[0], nn.Linear):
        return BatchedLinear(networks)
    stacked = copy.deepcopy(networks[0])
    for name, _ in linear:
        place, attribute = _place(stacked, name)
        setattr(place, attribute, BatchedLinear([network.get_submodule(name) for network in networks]))
    return stacked


def _place(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The layer that holds what `name` stands for, and the attribute."""
    place, _, attribute = name.rpartition(".")
    return network.get_submodule(place), attribute


def _anatomy(network: nn.Module) -> dict[str, Any]:
    """All of a network but the values of its weights and buffers: types, shapes, slopes, modes."""
    parts: dict[str, Any] = {}
    for name, layer in network.named_modules():
        parts[name or "kind"] = type(layer)
        for key, value in vars(layer).items():
            if key.startswith("_"):
                continue
            parts[f"{name}.{key}".lstrip(".")] = value.tolist() if isinstance(value, Tensor) else value
    shapes = {
        name: (value.shape, value.dtype, value.requires_grad)
        for name, value in [*network.named_parameters(), *network.named_buffers()]
    }
    return parts | shapes


class BatchedMatch(Match):
    """`Match(pair, data, seed=seed)` for each pair (G, D), or mapping, of `players` and its seed, all played at once.

    What is drawn has an axis more, (s, n, ...), and losses are (s,); players are stacked, and those given are copied.
    Raises ValueError as `Match` and `stack` do, and for seeds that are not one a pair.
    """

    def __init__(self, players: Sequence[Players], data, *, seeds: Sequence[int], **settings):
        seeds, players = list(seeds), [named(each) for each in players]
        if not seeds or len(seeds) != len(players):
            raise ValueError(f"expected a seed for each of {len(players)} pairs of players, got {seeds}")
        if any(each.keys() != players[0].keys() for each in players):
            raise ValueError(f"expected the same names for each seed, got {[list(each) for each in players]}")
        stacked = {name: stack([each[name] for each in players]) for name in players[0]}
        super().__init__(stacked, data, seed=seeds, **settings)

    def _per_seed(self, seeds: list[int]) -> tuple[list[int], tuple[int, ...]]:
        return [seed for each in seeds for seed in super(BatchedMatch, self)._per_seed(each)[0]], (
            len(seeds),
        )

    def _over_runs(self, streams: Sequence[Generator], function: Callable, *tensors: Tensor) -> Any:
        if any(len(tensor) != len(streams) for tensor in tensors):
            raise ValueError(f"expected tensors with a first axis of {len(streams)}, one slice a run")
        each = [function(*slices) for slices in zip(*tensors, streams, strict=True)]
        if isinstance(each[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*each, strict=True))
        return torch.stack(each)


def play_seeds(
    make_players: Callable[..., Players], game: Round, data, seeds: Sequence[int], *,
    steps: int, every: int = 100, n_samples: int = 1000, **settings,
) -> Iterator[Snapshot]:  # fmt: skip
    """Play the game with make_players(seed=seed) for each seed, all seeds at once; Snapshots as of `rounds`.

        shots = list(play_seeds(partial(mlp_players, (2,)), GAMES["minimax"], ring(), range(6), steps=1000))

    `settings` are those of `Match`. Raises ValueError as `BatchedMatch` and `rounds` do.
    """
    match = BatchedMatch([make_players(seed=seed) for seed in seeds], data, seeds=seeds, **settings)
    yield from rounds(match, game, steps=steps, every=every, n_samples=n_samples)
