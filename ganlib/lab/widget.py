"""The lab: a GAN trained live under the reader's hands.

The widget pulls, training never pushes: one asyncio task on the kernel's main loop plays rounds for one frame's
time, packs one picture, sends it, and yields. Pausing is not playing the next round. Messages from the browser
may arrive on another thread, so they only hand a function to the main loop; no other thread touches a tensor.
A picture is drawn from fixed latents and fixed points, so watching cannot change training.
"""

import asyncio
import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Generator, nn
from torch.nn.functional import interpolate

from ganlib.batched import BatchedMatch
from ganlib.distributions import LINE, PLANAR, GaussianMixture, drawn
from ganlib.games import GAMES
from ganlib.images import IMAGES
from ganlib.metrics import high_quality, modes_covered
from ganlib.networks import mlp_players
from ganlib.penalties import clip_weights, gradient_penalty
from ganlib.training import Match, diverged, evaluate

DRAWN = "drawn by hand"
DATASETS: dict[str, Callable] = {**LINE, **PLANAR, DRAWN: lambda: drawn([[0.0, 0.0]]), **IMAGES}
SMILE = [[2 * math.sin(a), -2 * math.cos(a)] for a in np.linspace(-1.2, 1.2, 24)] + [[-0.9, 1.2], [0.9, 1.2]]
ACTIVATIONS = {"tanh": nn.Tanh, "ReLU": nn.ReLU, "leaky ReLU": partial(nn.LeakyReLU, 0.2)}
FRAME_SECONDS = 0.041  # of training between two pictures: about 22 a second
IMAGE_FRAME_SECONDS = 0.09  # a sheet of images costs more
UNSEEN_FRAMES = 25  # stop sending when the browser is this far behind: no queue builds up
HISTORY = 400  # frames kept for scrubbing; when full, every second one is dropped

# What a reader may type, and its range: (label, type, lowest, highest).
NUMBERS: dict[str, tuple[str, type, float, float]] = {
    "lr_d": ("learning rate of D", float, 1e-6, 1.0),
    "lr_g": ("learning rate of G", float, 1e-6, 1.0),
    "k": ("k, moves of D", int, 1, 100),
    "seed": ("seed", int, 0, 2**31 - 1),
    "runs": ("seeds at once", int, 1, 12),
    "unroll_steps": ("K, moves looked ahead", int, 0, 20),
    "c": ("c, where weights are clipped", float, 1e-4, 100.0),
    "lambda_gp": ("lambda of the penalty", float, 0.0, 1e4),
}
# The number that a game has of its own, and the rules of play that its value stands for.
DIALS: dict[str, tuple[str, Callable[[Any], dict]]] = {
    "unrolled": ("unroll_steps", lambda steps: {"unroll_steps": steps}),
    "WGAN": ("c", lambda c: {"constrain": clip_weights(c)}),
    "WGAN-GP": ("lambda_gp", lambda lambda_gp: {"penalty": gradient_penalty(lambda_gp)}),
}


class Lab(anywidget.AnyWidget):
    """One live run. `data` is a name in `datasets` (functions that give a sampler), `objective` a name in `GAMES`.

    `activation` is a name in `ACTIVATIONS` (None: tanh for points, leaky ReLU for images); k (None: its game's),
    the learning rates, the games' own numbers (`DIALS`), the batch size, Adam's betas and the networks (`latent_dim`,
    `hidden`, passed to `mlp_players`) may be set too, or `players`, a function (shape, seed=...) -> (G, D) to use
    instead. `runs` seeds are trained at once, as one tensor program.
    `advance(n)` plays n rounds at once without a browser. Sets PyTorch to one CPU thread.
    Raises ValueError for settings out of range.
    """

    _esm = Path(__file__).with_name("lab.js")
    _css = Path(__file__).with_name("lab.css")
    scene = traitlets.Dict().tag(sync=True)  # what stays for a run: menus, extent, real data
    status = traitlets.Dict().tag(sync=True)  # playing, settings, messages
    frame = traitlets.Bytes().tag(
        sync=True
    )  # the newest picture; one trait, so that a second view has it too

    def __init__(
        self, data: str = "ring", objective: str = "non-saturating", *,
        lr_g: float = 1e-3, lr_d: float = 1e-3, k: int | None = None, seed: int = 0, runs: int = 1,
        activation: str | None = None, unroll_steps: int = 5, c: float = 0.3, lambda_gp: float = 1.0,
        batch_size: int | None = None, betas: tuple[float, float] = (0.5, 0.999),
        datasets: Mapping[str, Callable] = DATASETS, players: Callable | None = None, **networks,
    ):  # fmt: skip
        super().__init__()
        # The browser that shows the lab needs the other core: two threads made the same step up to 20 times slower.
        torch.set_num_threads(1)
        self._datasets, self._players, self._networks = datasets, players, networks
        self._batch_size, self._betas = batch_size, betas
        self._menus = {"data": list(datasets), "objective": list(GAMES), "activation": list(ACTIVATIONS)}
        self.settings: dict[str, Any] = {"data": self._checked("data", data)}
        self.settings["objective"] = self._checked("objective", objective)
        given = {
            "activation": activation or self._usual_activation(), "lr_g": lr_g, "lr_d": lr_d,
            "k": GAMES[objective].n_critic if k is None else k, "seed": seed, "runs": runs,
            "unroll_steps": unroll_steps, "c": c, "lambda_gp": lambda_gp,
        }  # fmt: skip
        self.settings |= {name: self._checked(name, value) for name, value in given.items()}
        self.playing, self._errors, self._task, self._views = False, {}, None, 0
        self._drawing = SMILE  # until the reader draws
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # plain Python: no live play, `advance` works
            self._loop = None
        self.reset()
        self.on_msg(lambda _, content, __: self._post(self._obey, content))

    # --- the run ---

    def reset(self, message: str = "") -> None:
        """Start the run again from its seed, with the settings as they are."""
        s = self.settings
        self.data = self._datasets[s["data"]]()
        if s["data"] == DRAWN:
            self.data = drawn(self._drawing, extent=(-3.0, 3.0))
        images = len(self.data.shape) == 3
        networks = {"hidden": (128, 128) if images else (64, 64), "activation": ACTIVATIONS[s["activation"]]}
        seeds = range(s["seed"], s["seed"] + s["runs"])
        make = self._players or partial(mlp_players, **networks | self._networks)
        players = [make(self.data.shape, seed=seed) for seed in seeds]
        game = replace(GAMES[s["objective"]], **self._rules())
        play = {
            "game": game, "data": self.data, "lr_g": s["lr_g"], "lr_d": s["lr_d"], "betas": self._betas,
            "batch_size": self._batch_size or (64 if images else 256),
        }  # fmt: skip
        if s["runs"] == 1:
            self.match = Match(*players[0], seed=s["seed"], **play)
        else:
            self.match = BatchedMatch(players, seeds=seeds, **play)
        self.G, self.D = self.match.G, self.match.D
        self._z = self.match.fixed_latents(64 if images else 1000)
        rng = Generator(self.match.rng.device).manual_seed(s["seed"] + 2)
        real = self.data.sample(64 if images else 500, rng)
        points = _lattice(self.data, 40 if s["runs"] == 1 else 24).to(real)
        self._points = points if s["runs"] == 1 else points.expand(s["runs"], *points.shape)
        self.step = self.d_moves = 0
        self._losses: dict[str, list] = {"d": [], "g": []}
        self._kept: list[tuple] = []
        self._stride, self._drawn, self._looking_at = 1, 0, None
        self._critic = game.objective.name == "wasserstein"  # whose values are no logits
        undecided = game.objective.discriminator(torch.zeros(1), torch.zeros(1)).item()
        self._sent = self._seen = 0
        self.scene = {
            "kind": "images" if images else ("line" if self.data.shape == (1,) else "plane"),
            "menus": self._menus, "numbers": {name: spec[0] for name, spec in NUMBERS.items()},
            "extent": list(self.data.extent), "undecided": undecided, "history": HISTORY,
            "modes": len(self.data.means) if isinstance(self.data, GaussianMixture) else 0,
            "means": self.data.means.tolist() if isinstance(self.data, GaussianMixture) else [],
            "real": _bytes(real).tolist() if images else real.flatten().tolist(),
            "dials": [name for name, _ in DIALS.values()], "dial": DIALS.get(s["objective"], [""])[0],
            "critic": self._critic, "drawable": s["data"] == DRAWN, "runs": s["runs"], "seed": s["seed"],
            "density": self.data.log_prob(points).exp().tolist() if self.data.shape == (1,) else [],
        }  # fmt: skip
        self._draw()
        self._tell(message)

    def _rules(self) -> dict:
        """The rules of play that the game's own number stands for."""
        dial, rules = DIALS.get(self.settings["objective"], ("", None))
        return rules(self.settings[dial]) if rules else {}

    def advance(self, rounds: int = 1) -> None:
        """Play `rounds` rounds (k moves of D, one of G) and draw one frame."""
        for _ in range(rounds):
            self._round()
        self._draw()

    def _round(self) -> None:
        for _ in range(self.settings["k"]):
            self._d_move()
        self._g_move()

    def _d_move(self) -> None:
        self._losses["d"].append(self.match.discriminator_move())
        self.d_moves += 1

    def _g_move(self) -> None:
        self._losses["g"].append(self.match.generator_move())
        self.step += 1

    # --- the picture ---

    def _draw(self) -> None:
        """Keep the present as a frame and show it."""
        d_loss, g_loss = (float(torch.stack(v).mean()) if v else math.nan for v in self._losses.values())
        for player, loss, moved in (("D", d_loss, self._losses["d"]), ("G", g_loss, self._losses["g"])):
            if moved and not math.isfinite(loss):
                raise ValueError(diverged(player, self.step))
        self._losses = {"d": [], "g": []}
        fake = evaluate(self.G, self._z)
        runs = fake if self.settings["runs"] > 1 else fake[None]
        modes, quality = [math.nan] * len(runs), math.nan
        if isinstance(self.data, GaussianMixture):
            modes = [modes_covered(samples, self.data) for samples in runs]
            quality = sum(high_quality(samples, self.data) for samples in runs) / len(runs)
        row = (self.step, d_loss, g_loss, *modes)
        head = (self.step, self.d_moves, quality)
        if len(self.data.shape) == 3:
            floats, pixels = b"", _bytes(fake)
        else:
            floats = runs[:, : 500 if len(runs) == 1 else 200].cpu().numpy().astype("f4").tobytes()
            pixels = _bytes(self._surface(evaluate(self.D, self._points)))
        self._latest = (row, head, floats, pixels.tobytes())
        if self._drawn % self._stride == 0:
            self._kept.append(self._latest)
        if len(self._kept) > HISTORY:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._drawn += 1
        self._show(None)

    def _surface(self, values: torch.Tensor) -> torch.Tensor:
        """What D says at the points shown, from -1 to 1.

        A critic's values have neither scale nor zero: the middle of their range becomes 0, and in the plane they are
        rounded to bands, which lie close where the critic is steep."""
        if not self._critic:
            return 2 * values.sigmoid() - 1
        low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        values = (2 * values - low - high) / (high - low).clamp_min(1e-12)
        if self.data.shape == (1,):
            return values
        side = math.isqrt(values.shape[-1])
        finer = interpolate(values.view(-1, 1, side, side), scale_factor=4, mode="bicubic")
        return (7 * finer).round() / 7

    def _frames(self) -> list[tuple]:
        return self._kept if self._kept[-1] is self._latest else [*self._kept, self._latest]

    def _show(self, index: int | None) -> None:
        """Send frame `index` of those kept (None: the newest)."""
        frames = self._frames()
        self._looking_at = index
        index = len(frames) - 1 if index is None else min(max(int(index), 0), len(frames) - 1)
        _, head, floats, pixels = frames[index]
        rows = np.array([f[0] for f in frames[: index + 1]], "f4")
        self._sent += 1
        numbers = [self._sent, index, len(frames), len(rows), len(floats) // 4, len(pixels), *head]
        self.frame = np.array(numbers, "f4").tobytes() + rows.tobytes() + floats + pixels

    def _tell(self, message: str = "", error: bool = False) -> None:
        self.status = {
            "playing": self.playing, "message": message, "error": error,
            "settings": {name: str(value) for name, value in self.settings.items()}, "errors": dict(self._errors),
        }  # fmt: skip

    # --- the controls ---

    def _post(self, function: Callable, *arguments) -> None:
        if self._loop is None:
            self._guarded(function, *arguments)
        else:
            self._loop.call_soon_threadsafe(self._guarded, function, *arguments)

    def _guarded(self, function: Callable, *arguments) -> None:
        try:
            function(*arguments)
        except ValueError as error:
            self._tell(str(error), error=True)
        except Exception:  # an exception in a task is silent: show it in the widget
            self.playing = False
            self._tell(traceback.format_exc(limit=-3), error=True)

    def _obey(self, message: dict) -> None:
        """One message of the browser: {"do": name, ...}."""
        match message["do"]:
            case "seen":
                self._seen = max(self._seen, int(message["frame"]))
            case "hello":  # a view opened: it has the newest frame already
                self._views, self._seen = self._views + 1, self._sent
            case "bye":  # a view closed; nobody presses pause on a lab that is not shown
                self._views -= 1
                if self._views == 0:
                    self.pause()
            case "play":
                self.play()
            case "pause":
                self.pause()
            case "look":
                self.pause()
                self._show(message["index"])
            case "set":
                self._set(message["name"], message["value"])
            case "reset":
                self._errors.clear()
                self.reset("New run.")
            case "points":
                self._draw_by_hand(message["points"])
            case "frame" | "d_move" | "g_move" as move:
                self.pause()
                {"frame": lambda: self.advance(10), "d_move": self._d_move, "g_move": self._g_move}[move]()
                if move != "frame":
                    self._draw()
            case other:
                raise ValueError(f"unknown command {other!r}")

    def _usual_activation(self) -> str:
        return "leaky ReLU" if len(self._datasets[self.settings["data"]]().shape) == 3 else "tanh"

    def _checked(self, name: str, value: Any) -> Any:
        if name in self._menus:
            if value not in self._menus[name]:
                raise ValueError(f"{name}: expected one of {', '.join(self._menus[name])}, got {value!r}")
            return value
        label, kind, low, high = NUMBERS[name]
        try:
            number = kind(value)
            if number != float(value) or not low <= number <= high:
                raise ValueError
        except (TypeError, ValueError):
            what = "a whole number" if kind is int else "a number"
            raise ValueError(f"{label}: expected {what} from {low:g} to {high:g}, got {value!r}") from None
        if name == "runs" and number > 1 and self._usual_activation() == "leaky ReLU":
            raise ValueError(f"{label}: expected 1 on images, got {value!r}; more are for points")
        return number

    def _set(self, name: str, value: Any) -> None:
        mended = self._errors.pop(name, None)
        try:
            value = self._checked(name, value)
        except ValueError as error:
            self._errors[name] = str(value)
            raise ValueError(f"{error}. The run goes on with {self.settings[name]}.") from None
        if value == self.settings[name]:  # Enter and leaving the field both send the value
            return self._tell() if mended else None
        self.settings[name] = value
        if name == "data":
            usual = self._usual_activation()
            images = len(self.data.shape) == 3
            if (usual == "leaky ReLU") != images:  # between points and images the networks change too
                self.settings |= {"activation": usual, "runs": 1}
        if name == "objective":
            self.settings["k"] = GAMES[value].n_critic
        if name in ("data", "objective", "activation", "seed", "runs"):
            return self.reset(f"New run: {NUMBERS[name][0] if name in NUMBERS else name} is now {value}.")
        self.match.change_rules(**self._rules())
        for optimiser, lr in ((self.match.opt_g, "lr_g"), (self.match.opt_d, "lr_d")):
            optimiser.param_groups[0]["lr"] = self.settings[lr]
        self._tell(f"{NUMBERS[name][0]} is now {value:g}; the run goes on.")

    def _draw_by_hand(self, points: list) -> None:
        if len(points) > 2000:
            raise ValueError(f"expected at most 2000 drawn points, got {len(points)}")
        drawn(points)  # refuses nonsense before anything changes
        self._drawing = points
        self.settings["data"] = DRAWN
        self.reset(f"New run on {len(points)} drawn points.")

    # --- play and pause ---

    def play(self) -> None:
        """Train live until `pause`; needs a running event loop, which a notebook has."""
        if self._loop is None:
            raise ValueError("play needs a running event loop, as in a notebook; use advance(n)")
        if not self.playing:
            self.playing = True
            self._tell()
            if self._task is None or self._task.done():
                self._task = self._loop.create_task(self._play())  # tasks are held weakly: keep the reference

    def pause(self) -> None:
        """Stop after the round that is being played."""
        if self.playing:
            self.playing = False
            self._tell()

    async def _play(self) -> None:
        while self.playing:
            self._guarded(self._play_one_frame)
            await asyncio.sleep(0.001)  # not 0: lets the threads that talk to the browser run

    def _play_one_frame(self) -> None:
        images = len(self.data.shape) == 3
        due = time.perf_counter() + (IMAGE_FRAME_SECONDS if images else FRAME_SECONDS)
        while time.perf_counter() < due:
            self._round()
        if self._sent - self._seen < UNSEEN_FRAMES:
            try:
                self._draw()
            except ValueError:  # diverged
                self.playing = False
                raise


def _lattice(data, side: int) -> torch.Tensor:
    """Where D is shown: 200 points of the line, or side x side of the plane, row by row from the bottom."""
    if data.shape == (1,):
        return torch.linspace(*data.extent, 200)[:, None]
    ticks = torch.linspace(*data.extent, side)
    return torch.cartesian_prod(ticks, ticks).flip(1)


def _bytes(values: torch.Tensor) -> np.ndarray:
    """[-1, 1] -> 0..255."""
    return ((values.flatten().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
