"""A match: who plays, on which data, with which random stream; and `train`, which plays it round by round.

Every tensor is born on the players' device, from a generator that lives there, so a GPU run meets no CPU tensor,
and a run's randomness is its own: nothing that looks at a run can change it.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

Round = Callable[["Match"], Mapping[str, Tensor]]  # a game: plays one round, returns the players' losses
Players = Mapping[str, nn.Module] | tuple[nn.Module, nn.Module]


class Snapshot(NamedTuple):
    """What a run shows: values only. `step` counts rounds; `samples` is G at fixed latents.

    Of s runs played at once (`ganlib.batched`), each loss is a list of s numbers and the samples are (s, n, ...)."""

    step: int
    losses: dict[str, float | list[float]]
    samples: Tensor

    @property
    def d_loss(self) -> float | list[float]:
        """The loss of D."""
        return self.losses["D"]

    @property
    def g_loss(self) -> float | list[float]:
        """The loss of G."""
        return self.losses["G"]


def latents(G: nn.Module, n: int, rng: Generator) -> Tensor:
    """n draws of z ~ N(0, I), shape (n, G.latent_dim), on the generator's device and of the type of G's weights."""
    return torch.randn(n, G.latent_dim, generator=rng, device=rng.device, dtype=next(G.parameters()).dtype)


@torch.no_grad()
def evaluate(network: nn.Module, *inputs: Tensor) -> Tensor:
    """network(*inputs) without gradients and in evaluation mode; every layer's mode and buffers stay as they were."""
    modes = {layer: layer.training for layer in network.modules()}
    try:
        return network.eval()(*inputs)
    finally:
        for layer, mode in modes.items():
            layer.training = mode


class Match:
    """Players at the table: named networks with an Adam each, data, and the run's own random stream.

    `players` is a pair (G, D) or a mapping from names to networks, each then an attribute of the match. `data` needs
    `sample(n, rng)`, which gives x (n, *shape), or a tuple (x, *given) of what is known of each sample, such as its
    label. `latents(n, rng)` gives what G starts from; by default z ~ N(0, I) of G.latent_dim. The learning rate is
    `lr`, or of one player lr_NAME, as in lr_g=2e-3. Everything lives on the players' device.
    Raises ValueError for players, data or settings that cannot play, saying what was expected.
    """

    def __init__(
        self, players: Players, data, *, batch_size: int = 256, lr: float = 1e-3, betas=(0.5, 0.999),
        seed: int = 0, latents: Callable[[int, Generator], Tensor] | None = None, **rates: float,
    ):  # fmt: skip
        self.players, self.device, self._dtype = _seated(players)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
        known = {f"lr_{name.lower()}": lr for name in self.players}
        if unknown := rates.keys() - known.keys():
            raise ValueError(f"expected settings of a match, or {', '.join(known)}; got {', '.join(unknown)}")
        rates = known | rates
        for name, rate in {"lr": lr, **rates}.items():
            if not isinstance(rate, int | float) or not 0 < rate <= 1:
                raise ValueError(f"{name} must be a learning rate in (0, 1], got {rate!r}")
        self.seeds, runs = self._per_seed(seed)  # `ganlib.batched` plays many
        self.rngs, self.batch_size = self._streams(), batch_size
        self.batch_shape = torch.Size([*runs, batch_size])
        self.optimisers = {
            name: torch.optim.Adam(player.parameters(), rates[f"lr_{name.lower()}"], betas, fused=True)
            for name, player in self.players.items()
        }
        self._latents, self.data = latents, data
        self._given = self._checked_data()
        for name, player in self.players.items():
            if hasattr(self, name):
                raise ValueError(f"expected a player's name that is free, such as 'encoder', got {name!r}")
            setattr(self, name, player)

    def draw_real(self) -> tuple[Tensor, ...]:
        """A fresh minibatch (x, *given) of data."""
        return self._over_runs(self.rngs, lambda rng: self._sample(self.batch_size, rng))

    def draw_given(self) -> tuple[Tensor, ...]:
        """What is given with a fresh minibatch, such as labels; where the data have none, (), and nothing is drawn."""
        return self.draw_real()[1:] if self._given else ()

    def draw_latents(self) -> Tensor:
        """A fresh minibatch of z."""
        return self._over_runs(self.rngs, lambda rng: self._z(self.batch_size, rng))

    def fixed_latents(self, n: int) -> tuple[Tensor, ...]:
        """n draws of (z, *given) to look at the run with: always the same, from a stream that is not the run's."""
        streams = self._streams(1)
        z = self._over_runs(streams, lambda rng: self._z(n, rng))
        return z, *(self._over_runs(streams, lambda rng: self._sample(n, rng)[1:]) if self._given else ())

    def per_run(self, function: Callable, *tensors: Tensor) -> Any:
        """function(*tensors, rng) with the run's own random stream; of many runs, on each one's slice, stacked."""
        return self._over_runs(self.rngs, function, *tensors)

    def descend(self, loss: Tensor, *names: str) -> Tensor:
        """One step of the named players' optimisers down `loss`, (), or (s,) for s runs at once; the loss, detached.

        No other player gets a gradient. Raises ValueError for a loss that is not one number a run."""
        if loss.shape != self.batch_shape[:-1]:
            expected = f"shape {tuple(self.batch_shape[:-1])}, as .mean(-1) of values a sample gives"
            raise ValueError(f"expected a loss that is one number a run, {expected}; got {tuple(loss.shape)}")
        optimisers = [self.optimisers[name] for name in names]
        weights = [
            p for o in optimisers for group in o.param_groups for p in group["params"] if p.requires_grad
        ]
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.sum().backward(inputs=weights)
        for optimiser in optimisers:
            optimiser.step()
        return loss.detach()

    def _per_seed(self, seed: int) -> tuple[list[int], tuple[int, ...]]:
        """The seeds, and the axes of what is one number a run."""
        return [_whole("seed", seed)], ()

    def _streams(self, offset: int = 0) -> list[Generator]:
        return [Generator(self.device).manual_seed(seed + offset) for seed in self.seeds]

    def _over_runs(self, streams: Sequence[Generator], function: Callable, *tensors: Tensor) -> Any:
        return function(*tensors, *streams)

    def _z(self, n: int, rng: Generator) -> Tensor:
        return self._latents(n, rng) if self._latents else latents(self.players["G"], n, rng)

    def _sample(self, n: int, rng: Generator) -> tuple[Tensor, ...]:
        batch = self.data.sample(n, rng)
        batch = batch if isinstance(batch, tuple) else (batch,)
        for part in batch:
            if len(part) != n:
                raise ValueError(f"expected data.sample({n}, rng) to give {n} samples, got {len(part)}")
        return batch

    def _checked_data(self) -> int:
        """How many things are given with a sample; ValueError for data that the players cannot be trained on."""
        if not hasattr(self.data, "sample"):
            raise ValueError(f"expected data with sample(n, rng), such as ring(), got {self.data!r}")
        streams, G = self._streams(), self.players["G"]
        if not (self._latents or hasattr(G, "latent_dim")):
            raise ValueError(
                f"expected G to have latent_dim (were G and D exchanged?), got {type(G).__name__}"
            )
        x, *given = self._over_runs(streams, lambda rng: self._sample(2, rng))
        if (x.dtype, x.device.type) != (self._dtype, self.device.type) or not x.isfinite().all():
            expected = f"finite data of the players' type {self._dtype} on their device {self.device}"
            raise ValueError(
                f"expected {expected}, got {x.dtype} on {x.device}: {x[0].flatten()[:2].tolist()} ..."
            )
        try:
            fake = evaluate(G, self._over_runs(streams, lambda rng: self._z(2, rng)), *given)
        except (TypeError, RuntimeError) as error:
            raise ValueError(
                f"expected G to take z and the {len(given)} things given with x: {error}"
            ) from error
        if fake.shape != x.shape:
            shapes = f"{tuple(x.shape)}, got {tuple(fake.shape)}"
            raise ValueError(f"expected G to make samples of the data's shape: of two {shapes}")
        return len(given)


def named(players: Players) -> dict[str, nn.Module]:
    """The players by name; of a pair they are "G" and "D". ValueError for neither a pair nor a mapping."""
    if isinstance(players, Mapping):
        return dict(players)
    if not isinstance(players, tuple) or len(players) != 2:
        raise ValueError(f"expected a pair (G, D) or a mapping from names to networks, got {players!r}")
    return dict(zip("GD", players, strict=True))


def _seated(players: Players) -> tuple[dict[str, nn.Module], torch.device, torch.dtype]:
    """The players by name, their device and type; ValueError for those that cannot play."""
    players, weights = named(players), []
    for name, player in players.items():
        if not isinstance(player, nn.Module):
            raise ValueError(f"{name}: expected a network, got {player!r}")
        if not list(player.parameters()):
            raise ValueError(f"{name}: expected a network with weights to learn, got {player!r}")
        if any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in player.modules()):
            raise ValueError(
                f"{name} has a Dropout layer, which draws from PyTorch's global random state, so that no run could be "
                "repeated: draw the mask from the run's own stream (match.per_run) instead"
            )
        weights += player.parameters()
    if "G" not in players:
        raise ValueError(f"expected a player named G, whose samples are shown, got {', '.join(players)}")
    if len({(p.device, p.dtype) for p in weights}) > 1:
        raise ValueError("expected all players on one device and of one type")
    return players, weights[0].device, weights[0].dtype


def _whole(name: str, number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{name} must be a whole number, got {number!r}")
    return number


def train(
    G: nn.Module, D: nn.Module, game: Round, data, *,
    steps: int, every: int = 100, n_samples: int = 1000, seed: int = 0, **settings,
) -> Iterator[Snapshot]:  # fmt: skip
    """Play `steps` rounds of the game (n_critic moves of D, then one of G); yield a Snapshot every `every` of them, and
    the last.

    Lazy: between two snapshots the caller's own G and D *are* the networks at that step, and stopping is
    not calling `next`. `settings` are those of `Match`. Raises ValueError for bad ones, at the first `next`.
    A run that diverges ends with a RuntimeWarning that says which player's loss, at which step, and what to try.
    """
    match = Match((G, D), data, seed=seed, **settings)
    yield from rounds(match, game, steps=steps, every=every, n_samples=n_samples)


def rounds(
    match: Match, game: Round, *, steps: int, every: int = 100, n_samples: int = 1000
) -> Iterator[Snapshot]:
    """What `train` does with a match. Raises ValueError, at the first `next`, when steps, every or n_samples is less
    than 1, or the game is no function of a match.

    A run that diverges is told of in a RuntimeWarning; once all runs of the match have, no snapshot follows.
    """
    for name, number in {"steps": steps, "every": every, "n_samples": n_samples}.items():
        if _whole(name, number) < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
    if not callable(game):
        raise ValueError(f"expected a game, such as GAMES['minimax'], got {game!r}")
    fixed = match.fixed_latents(n_samples)
    losses: list[Mapping[str, Tensor]] = []  # one a round since the last snapshot
    ended: set[int] = set()  # the runs that have diverged
    for step in range(1, steps + 1):
        losses.append(game(match))
        if step % every == 0 or step == steps:
            for run, (player, i) in lost(losses).items():
                if run not in ended:
                    message = diverged(player, step - len(losses) + 1 + i)
                    warnings.warn(f"seed {match.seeds[run]}: {message}", RuntimeWarning, stacklevel=3)
                    ended.add(run)
            if len(ended) == len(match.seeds):
                return
            values = {name: loss.tolist() for name, loss in losses[-1].items()}
            losses.clear()
            yield Snapshot(step, values, evaluate(match.players["G"], *fixed))


def lost(losses: Sequence[Mapping[str, Tensor]]) -> dict[int, tuple[str, int]]:
    """Of some rounds' losses, the runs in which one is not finite: {run: (player, round)} of the first such loss.

    Looked at once for many rounds, so that a GPU need not wait in every one."""
    values = torch.stack([torch.stack([*one.values()]) for one in losses])  # (rounds, players[, runs])
    bad = ~values.reshape(*values.shape[:2], -1).isfinite().cpu()
    first = {}
    for run in bad.any(dim=(0, 1)).nonzero().flatten().tolist():
        late, player = bad[:, :, run].nonzero()[0].tolist()
        first[run] = list(losses[0])[player], late
    return first


def diverged(player: str, step: int) -> str:
    """What to say of a run in which the loss of `player` is not finite at `step`."""
    return (
        f"{player}'s loss is not finite at step {step}: the run has diverged. Try a smaller learning rate, "
        "or a penalty or clipping that keeps D's slope bounded. The snapshots up to there are good."
    )
