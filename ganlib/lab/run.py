"""A run of the lab: a match and its game, played move by move, with what was counted and the frames that were drawn.

Frames are drawn from fixed latents and at fixed points, so watching cannot change training. No widget is needed.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator
from torch.nn.functional import interpolate

from ganlib.batched import BatchedMatch
from ganlib.devices import best_device
from ganlib.distributions import GaussianMixture
from ganlib.games import Game
from ganlib.metrics import high_quality, modes_covered
from ganlib.training import Match, diverged, evaluate, latents, named
from ganlib.unrolling import unroll

HISTORY = 400  # frames kept for looking back; when full, every second one is dropped
# What may be shown besides, by kind: arrows on the samples, and the image of a grid of latents, which
EXTRAS = {"line": ("arrows",), "plane": ("arrows", "grid"), "images": ()}
REACH, LINES, POINTS = 2.0, 9, 33  # runs from -2 to 2, with so many lines each way, of so many points each


class Run:
    """G and D of make_players(shape, seed=seed) on `data`; of many seeds, all at once as one tensor program.

    `settings` are those of `Match`; the batch size is 64 for images and 256 for points unless given. `game` may be
    replaced while the run goes on. Of EXTRAS, `extras` are drawn too: "arrows", where G's cost would have each sample
    go, and "grid", the image under G of a grid of latents; `show` switches them. Raises ValueError for a game that is
    no `Game`, for players other than G and D, for many seeds on images, and as `Match` does.
    """

    def __init__(
        self, data, game: Game, make_players: Callable, *, seeds: Sequence[int] = (0,),
        batch_size: int | None = None, extras: Sequence[str] = (), **settings,
    ):  # fmt: skip
        if not isinstance(game, Game):
            raise ValueError(
                f"the lab plays a Game, one of GAMES; got {game!r}: play it with training.rounds(match, game)"
            )
        shape = tuple(data.shape)
        if data.kind is None or (data.kind == "images" and (shape[0] != 1 or shape[1] != shape[2])):
            raise ValueError(
                f"expected samples that the lab can show, (1,), (2,) or images (1, n, n), got {shape}"
            )
        self.kind, self.game, self.seeds = data.kind, game, list(seeds)
        if self.kind == "images" and len(self.seeds) > 1:
            raise ValueError(f"expected one seed on images, got {len(self.seeds)}; more are for points")
        players = [named(make_players(shape, seed=seed)) for seed in self.seeds]
        if {*players[0]} != {"G", "D"}:
            raise ValueError(
                f"the lab shows two players, G and D, got {', '.join(players[0])}: play them with training.rounds"
            )
        if self.kind == "images":
            players = [{name: player.to(best_device()) for name, player in players[0].items()}]
        many = len(players) > 1
        if batch_size is None:
            batch_size = 64 if self.kind == "images" else 256
        settings |= {"batch_size": batch_size}
        self.match = (
            BatchedMatch(players, data, seeds=self.seeds, **settings)
            if many
            else Match(players[0], data, seed=self.seeds[0], **settings)
        )
        self.G, self.D, self.data = self.match.G, self.match.D, data
        (self._z,) = self.match.fixed_latents(64 if self.kind == "images" else 1000)
        rng = Generator(self.match.device).manual_seed(self.seeds[0] + 2)
        self._real = data.sample(64 if self.kind == "images" else 500, rng)
        self._points = _lattice(data, 24 if many else 40).to(self._real)
        grid = _latent_grid(self.G, rng) if self.kind == "plane" else torch.empty(0, 0, 0)
        self._grid, self._z_grid = list(grid.shape[:2]), grid.flatten(0, 1)
        self._extras = {name for name in extras if name in EXTRAS[self.kind]}
        self.step = self.d_moves = 0
        self.time = 0.0  # in rounds: half a round is G's move, half are the k moves of D
        self.marks: list[tuple[float, str]] = []  # when a setting was changed, and to what
        self._losses: dict[str, list] = {"D": [], "G": []}  # since the last frame
        self._kept: list[dict] = []
        self._stride, self._drawn = 1, 0
        self.draw()

    def d_move(self) -> None:
        """One move of D alone."""
        self._losses["D"].append(self.game.discriminator_move(self.match))
        self.d_moves += 1
        self.time += 0.5 / self.game.n_critic

    def g_move(self) -> None:
        """One move of G alone."""
        self._losses["G"].append(self.game.generator_move(self.match))
        self.step += 1
        self.time += 0.5

    def round(self) -> None:
        """k moves of D, one of G."""
        for _ in range(self.game.n_critic):
            self.d_move()
        self.g_move()

    def verdict(self) -> dict[str, float]:
        """What the players' costs are, and what D says on average, on samples that are always the same: d_loss (without
        a penalty), g_loss (against D as it stands), real and fake, as probabilities, or a critic's values. Means over
        the runs, and no network is touched."""
        G, D = copy.deepcopy(self.G), copy.deepcopy(self.D)  # in the mode that trains, batch norm counts
        objective, runs = self.game.objective, self.match.batch_shape[:-1]
        with torch.no_grad():
            real, fake = D(self._real.expand(*runs, *self._real.shape)), D(G(self._z))
            values = {"d_loss": objective.discriminator(real, fake), "g_loss": objective.generator(fake)}
            if not objective.critic:
                real, fake = real.sigmoid(), fake.sigmoid()
        return {name: float(value.mean()) for name, value in (values | {"real": real, "fake": fake}).items()}

    def draw(self) -> None:
        """Keep the present as the newest frame; its losses are means over the moves since the last one, and over runs.

        Raises ValueError, and keeps no frame, once a loss is not finite."""
        losses, self._losses = self._losses, {"D": [], "G": []}
        means = {name: float(torch.stack(each).mean()) if each else math.nan for name, each in losses.items()}
        for player, loss in means.items():
            if losses[player] and not math.isfinite(loss):
                raise ValueError(diverged(player, self.step))
        fake = self._fake = evaluate(self.G, self._z)
        runs = fake if len(self.seeds) > 1 else fake[None]
        modes, quality = [], None
        if isinstance(self.data, GaussianMixture):
            modes = [modes_covered(samples, self.data) for samples in runs]
            quality = sum(high_quality(samples, self.data) for samples in runs) / len(runs)
        self._latest = {
            "step": self.step, "time": self.time, "d_moves": self.d_moves, "quality": quality,
            "d_loss": means["D"], "g_loss": means["G"], "modes": modes,
        }  # fmt: skip
        if self.kind == "images":
            self._latest |= {"samples": b"", "pixels": _bytes(fake).tobytes()}
        else:
            shown = runs[:, : 500 if len(runs) == 1 else 200].cpu().numpy().astype("f4")
            points = self._points.expand(*self.match.batch_shape[:-1], *self._points.shape)
            values = self._belief(evaluate(self.D, points))
            self._latest |= {"samples": shown.tobytes(), "pixels": _bytes(values).tobytes()}
        self._latest |= {name: self._extra(name) for name in self._extras}
        if self._drawn % self._stride == 0:
            self._kept.append(self._latest)
        if len(self._kept) > HISTORY:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._drawn += 1

    def show(self, name: str, on: bool) -> None:
        """Show "arrows" or "grid" from now on, in the newest frame too, or no longer."""
        if on and name in EXTRAS[self.kind]:
            self._extras.add(name)
            self._latest[name] = self._extra(name)
        else:
            self._extras.discard(name)
            self._latest.pop(name, None)

    def _extra(self, name: str) -> bytes:
        """The bytes of what is drawn besides the newest frame's samples, for the first of them."""
        if name == "grid":
            lines = evaluate(self.G, self._z_grid.expand(*self.match.batch_shape[:-1], *self._z_grid.shape))
            return lines.cpu().numpy().astype("f4").tobytes()
        return (
            self.push(self._fake[..., : 64 if len(self.seeds) > 1 else 128, :])
            .cpu()
            .numpy()
            .astype("f4")
            .tobytes()
        )

    def push(self, fake: torch.Tensor) -> torch.Tensor:
        """Where G's cost would have each sample go, (..., n, d): n times minus the gradient of the cost, a mean over n.

        Against D as it stands or, in an unrolled game, against what D would become by K moves on these very samples and
        as many data. Neither the players nor the run's random stream are touched."""
        fake = fake.detach().requires_grad_()
        if self.game.unroll_steps:
            n, objective = fake.shape[-2], self.game.objective
            real = self._real.repeat(math.ceil(n / len(self._real)), 1)[:n].expand(fake.shape)
            opponent = unroll(
                self.D, self.match.optimisers["D"], lambda D: objective.discriminator(D(real), D(fake)),
                self.game.unroll_steps,
            )  # fmt: skip
        else:
            opponent = copy.deepcopy(self.D).eval()
        cost = self.game.objective.generator(opponent(fake)).sum()  # over the runs
        return -fake.shape[-2] * torch.autograd.grad(cost, fake)[0]

    def _belief(self, values: torch.Tensor) -> torch.Tensor:
        """What D says at the points shown, from -1 (fake) to 1 (real).

        A critic's values have neither scale nor zero: the middle of their range becomes 0, and in the plane they are
        rounded to bands, which lie close where the critic is steep."""
        if not self.game.objective.critic:
            return 2 * values.sigmoid() - 1
        low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        values = (2 * values - low - high) / (high - low).clamp_min(1e-12)
        if self.kind == "line":
            return values
        side = math.isqrt(values.shape[-1])
        finer = interpolate(values.view(-1, 1, side, side), scale_factor=4, mode="bicubic")
        return (7 * finer).round() / 7

    def frames(self) -> list[dict]:
        """The frames to look back at, oldest first: those kept, and the newest."""
        return self._kept if self._kept[-1] is self._latest else [*self._kept, self._latest]

    def frame(self, index: int = -1) -> dict[str, Any]:
        """What one of `frames()` shows, as named fields, for s runs of which it is the nth frame.

        step, d_moves; quality: the share of samples within 3 sigma, None where there are no modes; marks: a line for
        each change of a setting, the time and words for it. As buffers of float32: times (in rounds), d_loss, g_loss
        (n,), modes (n, s), samples (s, m, d), arrows (s, a, d) of the first a samples, grid (s, lines, points, 2), the
        last two empty unless shown. As bytes, -1 as 0 and 1 as 255: pixels, which are D's belief (s, side, side) by
        rows from the bottom, on the line (s, 200), or m images (m, side, side).
        """
        frames = self.frames()
        shown = frames[: range(len(frames))[index] + 1]
        newest = shown[-1]

        def curve(name: str) -> bytes:
            return np.array([one[name] for one in shown], "f4").tobytes()

        fields = {name: newest[name] for name in ("step", "d_moves", "quality", "samples", "pixels")}
        return fields | {
            "arrows": newest.get("arrows", b""), "grid": newest.get("grid", b""),
            "marks": "\n".join(f"{time} {words}" for time, words in self.marks if time <= newest["time"]),
            "times": curve("time"), "d_loss": curve("d_loss"), "g_loss": curve("g_loss"), "modes": curve("modes"),
        }  # fmt: skip

    def scene(self) -> Mapping[str, Any]:
        """What stays for the run, as plain numbers: how to show it, the axes, and real data to compare with."""
        images = self.kind == "images"
        undecided = self.game.objective.discriminator(torch.zeros(1), torch.zeros(1)).item()
        return {
            "kind": self.kind, "extent": list(self.data.extent), "critic": self.game.objective.critic,
            "extras": list(EXTRAS[self.kind]), "grid": self._grid,
            "undecided": undecided, "history": HISTORY, "runs": len(self.seeds), "seed": self.seeds[0],
            "modes": len(self.data.means) if isinstance(self.data, GaussianMixture) else 0,
            "real": _bytes(self._real).tolist() if images else self._real.flatten().tolist(),
            "density": self.data.log_prob(self._points).exp().tolist() if self.kind == "line" else [],
        }  # fmt: skip


def _lattice(data, side: int) -> torch.Tensor:
    """Where D is shown: 200 points of the line, or side x side of the plane, row by row from the bottom."""
    if data.kind == "line":
        return torch.linspace(*data.extent, 200)[:, None]
    ticks = torch.linspace(*data.extent, side)
    return torch.cartesian_prod(ticks, ticks).flip(1)


def _latent_grid(G, rng: Generator) -> torch.Tensor:
    """Lines of latents, (lines, points, latent_dim): of the first two numbers of z one is fixed at a tick, the other
    runs from -2 to 2. All further ones are those of one draw, so that this is a slice through such z as G knows."""
    z = latents(G, 1, rng)
    ticks, run = torch.linspace(-REACH, REACH, LINES).to(z), torch.linspace(-REACH, REACH, POINTS).to(z)
    if z.shape[1] == 1:
        return run[None, :, None]
    lines = z.expand(2, LINES, POINTS, -1).clone()
    for way in (0, 1):
        lines[way, ..., way], lines[way, ..., 1 - way] = ticks[:, None], run
    return lines.flatten(0, 1)


def _bytes(values: torch.Tensor) -> np.ndarray:
    """[-1, 1] -> 0..255."""
    return ((values.flatten().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
