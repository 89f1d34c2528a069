"""A run of the lab: a match and its game, played move by move, with what was counted and the frames that were drawn.

Frames are drawn from fixed latents and at fixed points, so watching cannot change training. No widget is needed.
"""

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
from ganlib.training import Match, diverged, evaluate, named

HISTORY = 400  # frames kept for looking back; when full, every second one is dropped


class Run:
    """G and D of make_players(shape, seed=seed) on `data`; of many seeds, all at once as one tensor program.

    `settings` are those of `Match`; the batch size is 64 for images and 256 for points unless given. `game` may be
    replaced while the run goes on. Raises ValueError for a game that is no `Game`, for players other than G and D, for
    many seeds on images, and as `Match` does.
    """

    def __init__(
        self, data, game: Game, make_players: Callable, *, seeds: Sequence[int] = (0,),
        batch_size: int | None = None, **settings,
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
        self.step = self.d_moves = 0
        self._losses: dict[str, list] = {"D": [], "G": []}  # since the last frame
        self._kept: list[dict] = []
        self._stride, self._drawn = 1, 0
        self.draw()

    def d_move(self) -> None:
        """One move of D alone."""
        self._losses["D"].append(self.game.discriminator_move(self.match))
        self.d_moves += 1

    def g_move(self) -> None:
        """One move of G alone."""
        self._losses["G"].append(self.game.generator_move(self.match))
        self.step += 1

    def round(self) -> None:
        """k moves of D, one of G."""
        for _ in range(self.game.n_critic):
            self.d_move()
        self.g_move()

    def draw(self) -> None:
        """Keep the present as the newest frame; its losses are means over the moves since the last one, and over runs.

        Raises ValueError, and keeps no frame, once a loss is not finite."""
        losses, self._losses = self._losses, {"D": [], "G": []}
        means = {name: float(torch.stack(each).mean()) if each else math.nan for name, each in losses.items()}
        for player, loss in means.items():
            if losses[player] and not math.isfinite(loss):
                raise ValueError(diverged(player, self.step))
        fake = evaluate(self.G, self._z)
        runs = fake if len(self.seeds) > 1 else fake[None]
        modes, quality = [], None
        if isinstance(self.data, GaussianMixture):
            modes = [modes_covered(samples, self.data) for samples in runs]
            quality = sum(high_quality(samples, self.data) for samples in runs) / len(runs)
        self._latest = {
            "step": self.step, "d_moves": self.d_moves, "quality": quality,
            "d_loss": means["D"], "g_loss": means["G"], "modes": modes,
        }  # fmt: skip
        if self.kind == "images":
            self._latest |= {"samples": b"", "pixels": _bytes(fake).tobytes()}
        else:
            shown = runs[:, : 500 if len(runs) == 1 else 200].cpu().numpy().astype("f4")
            points = self._points.expand(*self.match.batch_shape[:-1], *self._points.shape)
            values = self._belief(evaluate(self.D, points))
            self._latest |= {"samples": shown.tobytes(), "pixels": _bytes(values).tobytes()}
        if self._drawn % self._stride == 0:
            self._kept.append(self._latest)
        if len(self._kept) > HISTORY:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._drawn += 1

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

        step, d_moves; quality: the share of samples within 3 sigma, None where there are no modes. As buffers of
        float32: steps, d_loss, g_loss (n,), modes (n, s), samples (s, m, d). As bytes, -1 as 0 and 1 as 255: pixels,
        which are D's belief (s, side, side) by rows from the bottom, on the line (s, 200), or m images (m, side, side).
        """
        frames = self.frames()
        shown = frames[: range(len(frames))[index] + 1]
        newest = shown[-1]

        def curve(name: str) -> bytes:
            return np.array([one[name] for one in shown], "f4").tobytes()

        fields = {name: newest[name] for name in ("step", "d_moves", "quality", "samples", "pixels")}
        return fields | {
            "steps": curve("step"), "d_loss": curve("d_loss"), "g_loss": curve("g_loss"), "modes": curve("modes"),
        }  # fmt: skip

    def scene(self) -> Mapping[str, Any]:
        """What stays for the run, as plain numbers: how to show it, the axes, and real data to compare with."""
        images = self.kind == "images"
        undecided = self.game.objective.discriminator(torch.zeros(1), torch.zeros(1)).item()
        return {
            "kind": self.kind, "extent": list(self.data.extent), "critic": self.game.objective.critic,
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


def _bytes(values: torch.Tensor) -> np.ndarray:
    """[-1, 1] -> 0..255."""
    return ((values.flatten().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
