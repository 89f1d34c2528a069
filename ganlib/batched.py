"""Many matches of one shape as one tensor program: every weight has a leading axis, one slice a seed.

Numerically these are the runs of `Match`, seed by seed, to rounding: each has its own random stream, its own loss and
so its own gradient. One large kernel costs less than six small ones, and would fill a GPU.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn
from torch.func import vmap

from ganlib.games import Game
from ganlib.penalties import Penalty
from ganlib.training import Match, latents


class BatchedLinear(nn.Module):
    """s linear layers at once: (s, n, inputs) -> (s, n, outputs)."""

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        if any(layer.bias is None for layer in layers):
            raise ValueError("expected linear layers with a bias")
        # (s, outputs, inputs) and (s, outputs)
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """Networks of one shape as one network, (s, n, ...) -> (s, n, ...): network i on slice i.

    Parameters keep their names and gain a leading axis, so network i comes back with
    `network.load_state_dict({name: values[i] for name, values in stacked.state_dict().items()})`.
    Raises ValueError for no networks, different shapes, and layers with weights other than nn.Linear.
    """
    shapes = [{name: value.shape for name, value in network.state_dict().items()} for network in networks]
    if not shapes or any(shape != shapes[0] for shape in shapes):
        raise ValueError("stack needs at least one network, and all of one shape")
    if isinstance(networks[0], nn.Linear):
        return BatchedLinear(networks)
    stacked = copy.deepcopy(networks[0])
    for name, layer in networks[0].named_modules():
        if isinstance(layer, nn.Linear):
            place, _, attribute = name.rpartition(".")
            layers = [network.get_submodule(name) for network in networks]
            setattr(stacked.get_submodule(place), attribute, BatchedLinear(layers))
        elif [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
            what = f"{name or 'the network'} is {type(layer).__name__}"
            raise ValueError(f"nn.Linear is the only layer with weights that can be stacked, {what}")
    return stacked


class BatchedMatch(Match):
    """`Match(G, D, game, data, seed=seed)` for every pair (G, D) of `players` and its seed, all played at once.

    Moves return one loss a seed, (s,); `match.G` and `match.D` are stacked, (s, n, ...) -> (s, n, ...). The players
    given are copied. Raises ValueError as `Match` and `stack` do, and for
    seeds that are not one a pair.
    """

    batch_axis = 1

    def __init__(self, players: Sequence[tuple], game: Game, data, *, seeds: Sequence[int], **settings):
        seeds = list(seeds)
        if not seeds or len(seeds) != len(players):
            raise ValueError(f"expected a seed for each pair of players, got {len(seeds)} for {len(players)}")
        one = game.objective
        each = replace(one, discriminator=vmap(one.discriminator), generator=vmap(one.generator))
        game = replace(game, objective=each, penalty=self._at_once(game.penalty))
        G, D = (stack(networks) for networks in zip(*players, strict=True))
        super().__init__(G, D, game, data, **settings)
        self.seeds, device = seeds, next(self.G.parameters()).device
        self.rngs = [Generator(device).manual_seed(seed) for seed in seeds]

    def draw_real(self) -> Tensor:
        """A fresh minibatch of data for each seed, (s, n, ...)."""
        return torch.stack([self.data.sample(self.batch_size, rng) for rng in self.rngs])

    def draw_latents(self) -> Tensor:
        """A fresh minibatch of z for each seed, (s, n, latent_dim)."""
        return torch.stack([latents(self.G, self.batch_size, rng) for rng in self.rngs])

    def fixed_latents(self, n: int) -> Tensor:
        """n draws of z for each seed, (s, n, latent_dim), to look at the runs with: always the same."""
        device = self.rngs[0].device
        return torch.stack([latents(self.G, n, Generator(device).manual_seed(s + 1)) for s in self.seeds])

    def change_rules(self, **rules) -> None:
        """As for `Match`. Raises ValueError also for another objective, and for a penalty that is no `Penalty`."""
        if "objective" in rules:
            raise ValueError("matches played at once keep their objective: start new ones")
        if "penalty" in rules:
            rules["penalty"] = self._at_once(rules["penalty"])
        super().change_rules(**rules)

    def _at_once(self, penalty: Penalty | None) -> Callable | None:
        """The penalty of every seed's D, (s,), at points drawn from the seed's own samples and random stream."""
        if penalty and not isinstance(penalty, Penalty):
            raise ValueError(f"expected a penalty of ganlib.penalties, got {penalty!r}")

        def penalties(D: nn.Module, real: Tensor, fake: Tensor, _) -> Tensor:
            x = [penalty.points(*pair, rng) for *pair, rng in zip(real, fake, self.rngs, strict=True)]
            return penalty.at(D, torch.stack(x), self.batch_axis)

        return penalties if penalty else None
