"""The lab in a notebook: a run, its settings, the browser's messages, and the clock that plays it.

The widget pulls, training never pushes: one asyncio task on the kernel's main loop plays rounds for one frame's
time, sends one picture, and yields. Pausing is not playing the next round. Messages from the browser may arrive on
another thread, so they only hand a function to the main loop; no other thread touches a tensor.
"""

import asyncio
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import nn

from ganlib.devices import threads
from ganlib.distributions import LINE, PLANAR, drawn
from ganlib.games import DIALS, GAMES, Game
from ganlib.images import IMAGES
from ganlib.lab.run import Run
from ganlib.networks import mlp_players

DRAWN = "drawn by hand"
DATASETS: dict[str, Callable] = {**LINE, **PLANAR, DRAWN: lambda: drawn([[0.0, 0.0]]), **IMAGES}
SMILE = [[2 * math.sin(a), -2 * math.cos(a)] for a in np.linspace(-1.2, 1.2, 24)] + [[-0.9, 1.2], [0.9, 1.2]]
ACTIVATIONS = {"tanh": nn.Tanh, "ReLU": nn.ReLU, "leaky ReLU": partial(nn.LeakyReLU, 0.2)}
MENUS = {"data": list(DATASETS), "objective": list(GAMES), "activation": list(ACTIVATIONS)}
FRAME_SECONDS = 0.041  # of training between two pictures: about 22 a second
IMAGE_FRAME_SECONDS = 0.09  # a sheet of images costs more
UNSEEN_FRAMES = 25  # stop sending when the browser is this far behind: no queue builds up

# What a reader may type, and its range: (label, type, lowest, highest). Defaults of the games' own are in DIALS.
NUMBERS: dict[str, tuple[str, type, float, float]] = {
    "lr_d": ("learning rate of D", float, 1e-6, 1.0),
    "lr_g": ("learning rate of G", float, 1e-6, 1.0),
    "k": ("k, moves of D", int, 1, 100),
    "seed": ("seed", int, 0, 2**31 - 1),
    "runs": ("seeds at once", int, 1, 12),
    "unroll_steps": ("K, moves looked ahead", int, 0, 20),
    "c": ("c, where weights are clipped", float, 1e-4, 100.0),
    "lambda_gp": ("lambda of the penalty", float, 0.0, 1e4),
    "width": ("units in a layer", int, 1, 512),
    "depth": ("hidden layers", int, 1, 6),
    "latent_dim": ("numbers in z", int, 1, 128),
}
NETWORKS = ["activation", "width", "depth", "latent_dim"]  # without effect on `players` of one's own
NEW_RUN = ["data", "objective", *NETWORKS, "seed", "runs"]  # the others take effect while a run goes on
# One click each: what they set; all else is as in Lab(), but for seed, runs and what is drawn besides.
PRESETS: dict[str, dict[str, Any]] = {
    "fills the ring": {},
    "rotates": {"activation": "ReLU", "lr_d": 5e-4},
    "freezes": {"activation": "ReLU", "lr_d": 4e-3},
    "cure: faster D": {"activation": "ReLU", "lr_d": 1.5e-3},
    "cure: look ahead": {"activation": "ReLU", "lr_d": 5e-4, "objective": "unrolled"},
    "D wins": {"objective": "minimax", "lr_d": 5e-3, "k": 5},
    "WGAN-GP, lambda 30": {"objective": "WGAN-GP", "lr_g": 2e-3, "lr_d": 2e-3, "k": 2, "lambda_gp": 30.0},
    "digits": {"data": "digits", "lr_g": 2e-3},
}
SHORT = {"lr_d": "lr D", "lr_g": "lr G", "unroll_steps": "K", "lambda_gp": "lambda"}  # for a mark on a curve
# As they stand beside the picture: the game, D, G, the networks, chance.
ORDER = (
    [*MENUS][:2] + [dial.name for dial in DIALS.values()] + ["lr_d", "k", "lr_g", *NETWORKS, "seed", "runs"]
)
HOW_TO_DRAW = "Draw on the square with the mouse or a finger: each stroke adds data and starts a new run."
# What the reader may have drawn besides, and what is then said of it.
SWITCHES = {
    "arrows": (
        "Arrows: where the slope of G's cost at each sample would send it, against D as it is (an unrolled game: as it "
        "will be). One scale for all games: slope 1 is half of the longest arrow, slope s has s / (1 + s) of it."
    ),
    "grid": (
        "Grid: what G makes of a square of latents; each line keeps one of the first two numbers of z and runs through "
        "the other from -2 to 2. All further numbers of z are fixed, at one draw."
    ),
}
HERE = Path(__file__).parent


class Lab(anywidget.AnyWidget):
    """One live run. `data` is a name in `DATASETS`, `objective` a name in `GAMES`, `activation` one in `ACTIVATIONS`
    (None: tanh for points, leaky ReLU for images). G and D have `depth` hidden layers of `width` units (None: 64 for
    points, 128 for images), and z has `latent_dim` numbers. k (None: its game's), the learning rates and the batch
    size may be set too, a game's own number (`DIALS`: unroll_steps, c, lambda_gp), or `players`, a function (shape,
    seed=...) -> (G, D), which the activation, width, depth and latent_dim then do not concern. `runs` seeds are trained
    at once, as one tensor program. `arrows` and `grid` are SWITCHES.

    `advance(n)` plays n rounds without a browser; the run itself is `lab.run`. Sets how many threads PyTorch uses.
    Raises ValueError for settings that do not exist or are out of range, OSError for data that cannot be read.
    """

    _esm = (HERE / "draw.js").read_text() + (HERE / "lab.js").read_text()  # one module
    _css = HERE / "lab.css"
    # Traits and no messages, so that a view opened later has the newest picture too.
    scene = traitlets.Dict().tag(sync=True)  # what stays for a run: fields, extent, real data
    status = traitlets.Dict().tag(sync=True)  # playing, settings, messages
    frame = traitlets.Dict().tag(sync=True)  # `Run.frame`, with id, index, frames: its place among those kept

    def __init__(
        self, data: str = "ring", objective: str = "non-saturating", *,
        lr_g: float = 1e-3, lr_d: float = 1e-3, k: int | None = None, seed: int = 0, runs: int = 1,
        activation: str | None = None, batch_size: int | None = None, players: Callable | None = None,
        width: int | None = None, depth: int = 2, latent_dim: int = 16,
        arrows: bool = False, grid: bool = False, **dials,
    ):  # fmt: skip
        super().__init__()
        own = {dial.name for dial in DIALS.values()}
        if unknown := dials.keys() - own:
            raise ValueError(
                f"expected settings of a lab, such as {', '.join(own)}; got {', '.join(unknown)}"
            )
        self._players, self._batch_size = players, batch_size
        self._drawing = SMILE  # until the reader draws
        self.playing, self._until, self._task, self._views = False, math.inf, None, 0
        self._sent = self._seen = 0
        self._errors: dict[str, str] = {}
        given = {
            "activation": activation, "width": width, "depth": depth, "latent_dim": latent_dim, "lr_g": lr_g,
            "lr_d": lr_d, "k": k, "seed": seed, "runs": runs, "arrows": arrows, "grid": grid, **dials,
        }  # fmt: skip
        plain = self._plain(_checked("data", data), _checked("objective", objective))
        given = {name: _checked(name, value) for name, value in given.items() if value is not None}
        self._opened = plain | given
        self._start(
            self._opened,
            f"{HOW_TO_DRAW} Until then the data are a smile." * (data == DRAWN),
        )
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # plain Python: no live play, `advance` works
            self._loop = None
        self.on_msg(lambda _, content, __: self._post(self._obey, content))

    def advance(self, rounds: int = 1) -> None:
        """Play `rounds` rounds (k moves of D, one of G) and draw one frame."""
        for _ in range(rounds):
            self.run.round()
        self._draw()

    # --- the run, from the settings ---

    def _start(self, settings: dict[str, Any], message: str = "") -> None:
        """A new run with these settings. All is built before anything changes, so what fails leaves the old one."""
        data = self._sampler(settings)
        images = data.kind == "images"
        usual = {
            "hidden": (settings["width"],) * settings["depth"],
            "activation": ACTIVATIONS[settings["activation"]],
            "latent_dim": settings["latent_dim"],
        }
        run = Run(
            data, _game(settings), self._players or partial(mlp_players, **usual),
            seeds=range(settings["seed"], settings["seed"] + settings["runs"]), batch_size=self._batch_size,
            lr_g=settings["lr_g"], lr_d=settings["lr_d"], extras=[name for name in SWITCHES if settings[name]],
        )  # fmt: skip
        own = DIALS.get(settings["objective"])
        without_effect = [dial.name for dial in DIALS.values() if dial is not own]
        without_effect += NETWORKS * bool(self._players) + ["runs"] * images
        torch.set_num_threads(threads(data.kind, live=True))
        self.run, self.settings, self._until = run, settings, math.inf
        self.scene = run.scene() | {
            "fields": [
                {"name": name, "label": _label(name), "options": MENUS.get(name, [])} for name in ORDER
            ],
            "presets": [] if self._players else list(PRESETS), "hidden": without_effect,
            "drawable": settings["data"] == DRAWN,
        }  # fmt: skip
        self._show()
        self._tell(message)

    def _sampler(self, settings: dict[str, Any]):
        if settings["data"] == DRAWN:
            return drawn(self._drawing, extent=(-3.0, 3.0))
        return DATASETS[settings["data"]]()

    @staticmethod
    def _plain(data: str = "ring", objective: str = "non-saturating") -> dict[str, Any]:
        """The settings of Lab(data, objective)."""
        return {
            "data": data, "objective": objective, "lr_g": 1e-3, "lr_d": 1e-3, "k": GAMES[objective].n_critic,
            **{dial.name: dial.default for dial in DIALS.values()}, **_usual(data in IMAGES),
            "depth": 2, "latent_dim": 16, "seed": 0, "runs": 1, "arrows": False, "grid": False,
        }  # fmt: skip

    def call(self) -> str:
        """The call that opens a lab with the present settings."""
        plain = self._plain(self.settings["data"], self.settings["objective"])
        named = [
            name for name in plain if name in ("data", "objective") or self.settings[name] != plain[name]
        ]
        words = [f"{name}={self.settings[name]!r}" for name in named if name not in self.scene["hidden"]]
        words += [f"batch_size={self._batch_size}"] if self._batch_size else []
        words += [f"players={getattr(self._players, '__name__', '...')}"] if self._players else []
        return f"Lab({', '.join(words)})".replace("'", '"')

    def _set(self, name: str, value: Any) -> None:
        mended = self._errors.pop(name, None) is not None
        try:
            value = _checked(name, value)
            if name in SWITCHES:
                self.settings = self.settings | {name: value}
                self.run.show(name, value)
                self._show()
                return self._tell(SWITCHES[name] * value)
            if value == self.settings[name]:  # Enter and leaving the field both send the value
                return self._tell() if mended else None
            settings = self.settings | {name: value}
            if name == "data":
                if (value in IMAGES) != (self.run.kind == "images"):  # then the networks change too
                    settings |= _usual(value in IMAGES) | {"runs": 1}
            if name == "objective":
                settings["k"] = GAMES[value].n_critic
            if name in NEW_RUN:
                how = f" {HOW_TO_DRAW}" if name == "data" and value == DRAWN else ""
                return self._start(settings, f"New run: {_label(name)} is now {value}.{how}")
        except (ValueError, OSError) as error:
            self._errors[name] = f"{error}. The run goes on with {self.settings[name]}."
            return self._tell()
        self.settings, self.run.game = settings, _game(settings)
        for player, optimiser in self.run.match.optimisers.items():
            optimiser.param_groups[0]["lr"] = settings[f"lr_{player.lower()}"]
        self.run.marks.append((self.run.time, f"{SHORT.get(name, name)} = {value:g}"))
        self._show()
        self._tell(f"{_label(name)} is now {value:g}; the run goes on.")

    def _preset(self, name: str) -> None:
        if name not in PRESETS or self._players:
            raise ValueError(f"expected one of {', '.join(PRESETS)}, got {name!r}")
        chosen = PRESETS[name]
        kept = ("seed", "arrows", "grid") + ("runs",) * ("data" not in chosen and self.run.kind != "images")
        plain = self._plain(chosen.get("data", "ring"), chosen.get("objective", "non-saturating"))
        self._errors.clear()
        self._start(plain | {each: self.settings[each] for each in kept} | chosen, f"New run: {name}.")

    def _draw_by_hand(self, points: list) -> None:
        if len(points) > 2000:
            raise ValueError(f"expected at most 2000 drawn points, got {len(points)}")
        drawn(points)  # refuses nonsense before anything changes
        before, self._drawing = self._drawing, points
        settings = self.settings | {"data": DRAWN}
        if self.run.kind == "images":
            settings |= _usual(images=False)
        try:
            self._start(settings, f"New run on {len(points)} drawn points.")
        except ValueError:
            self._drawing = before
            raise

    # --- what is shown ---

    def _draw(self) -> None:
        """Keep the present as a frame and show it."""
        self.run.draw()
        self._show()

    def _show(self, index: int | None = None) -> None:
        """Send frame `index` of those kept (None: the newest)."""
        frames = len(self.run.frames())
        index = frames - 1 if index is None else min(max(int(index), 0), frames - 1)
        self._sent += 1
        self.frame = self.run.frame(index) | {"id": self._sent, "index": index, "frames": frames}

    def _tell(self, message: str = "", error: bool = False) -> None:
        """Say something; below it, what is wrong with each setting that was not taken."""
        self.status = {
            "playing": self.playing, "message": "\n".join([*filter(None, [message]), *self._errors.values()]),
            "error": error or bool(self._errors), "errors": dict(self._errors),
            "settings": {name: str(value) for name, value in self.settings.items()}, "call": self.call(),
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
        except (ValueError, OSError) as error:
            self._tell(str(error), error=True)
        except Exception:  # an exception in a task is silent: show it in the widget
            self.playing = False
            self._tell(traceback.format_exc(limit=-3), error=True)

    def _obey(self, message: dict) -> None:
        """One message of the browser: {"do": name, ...}. What a hand did is answered at once, so that a view can tell
        a kernel that hears it from one that does not."""
        if message["do"] not in ("seen", "hello", "bye"):
            self.send({"heard": message["do"]})
        match message["do"]:
            case "seen":
                if isinstance(
                    message["frame"], int
                ):  # never more than was sent, or the browser could not fall behind
                    self._seen = max(self._seen, min(message["frame"], self._sent))
            case "hello":  # a view opened: it has the newest frame already
                self._views, self._seen = self._views + 1, self._sent
            case "bye":  # a view closed; nobody presses pause on a lab that is not shown
                self._views = max(self._views - 1, 0)
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
                self._start(self.settings, "New run.")
            case "preset":
                self._preset(message["name"])
            case "defaults":
                self._errors.clear()
                self._start(self._opened, "New run, with the settings that this lab was opened with.")
            case "points":
                self._draw_by_hand(message["points"])
            case "frame":
                self.pause()
                # The clock plays them, so that a long ten rounds can be paused.
                self.advance(10) if self._loop is None else self.play(10)
            case "d_move" | "g_move" as move:
                self.pause()
                self._move(move[0].upper(), getattr(self.run, move), message.get("times", 1))
            case other:
                raise ValueError(f"unknown command {other!r}")

    def _move(self, player: str, move: Callable[[], None], times: int) -> None:
        """One player's moves, and what they did."""
        if times not in (1, 10):
            raise ValueError(f"expected 1 or 10 moves, got {times!r}")
        before = self.run.verdict()
        for _ in range(times):
            move()
        self._draw()
        self._tell(_report(player, times, before, self.run.verdict(), self.run))

    # --- play and pause ---

    def play(self, rounds: float = math.inf) -> None:
        """Train live until `pause`, or for so many rounds; needs a running event loop, which a notebook has."""
        if self._loop is None:
            raise ValueError("play needs a running event loop, as in a notebook; use advance(n)")
        self._until = self.run.step + rounds
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
        run, seconds = self.run, IMAGE_FRAME_SECONDS if self.run.kind == "images" else FRAME_SECONDS
        due = time.perf_counter() + seconds
        try:
            while time.perf_counter() < due and run.step < self._until:
                run.round()
            done = run.step >= self._until
            if done or self._sent - self._seen < UNSEEN_FRAMES:
                self._draw()
        except ValueError:  # diverged
            self.playing = False
            raise
        if done:
            self.pause()


def _label(name: str) -> str:
    return NUMBERS[name][0] if name in NUMBERS else name


def _report(player: str, times: int, before: dict, after: dict, run: Run) -> str:
    """What a player's moves did, in a line."""
    critic = run.game.objective.critic
    names = {"d_loss": "d_loss", "real": "D(real)", "fake": "D(fake)"} if player == "D" else {
        "g_loss": "g_loss", "fake": "D(fake)"}  # fmt: skip
    if critic:
        names |= {"fake": "critic of fake"} | ({"real": "critic of real"} if player == "D" else {})
    changes = [f"{label} {before[name]:.3f} → {after[name]:.3f}" for name, label in names.items()]
    how = f"{player} moved{f' {times} times' if times > 1 else ''}"
    where = ["on fixed samples"]
    where += [f"mean of {len(run.seeds)} seeds"] * (len(run.seeds) > 1)
    where += ["without the penalty"] * bool(player == "D" and run.game.penalty)
    return f"{how}: {', '.join(changes)} ({', '.join(where)})."


def _usual(images: bool) -> dict[str, Any]:
    """What networks for images, or for points, are like."""
    return {"activation": "leaky ReLU" if images else "tanh", "width": 128 if images else 64}


def _game(settings: dict[str, Any]) -> Game:
    """The objective's game, with k and its own number as they are set."""
    dial = DIALS.get(settings["objective"])
    rules = dial.rules(settings[dial.name]) if dial else {}
    return replace(GAMES[settings["objective"]], n_critic=settings["k"], **rules)


def _checked(name: str, value: Any) -> Any:
    """A setting as it is kept. ValueError for one that is not in its menu, or out of its range."""
    if name in MENUS:
        if value not in MENUS[name]:
            raise ValueError(f"{name}: expected one of {', '.join(MENUS[name])}, got {value!r}")
        return value
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected True or False, got {value!r}")
        return value
    label, number_type, low, high = NUMBERS[name]
    try:
        number = number_type(value)
        if number != float(value) or not low <= number <= high:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if number_type is int else "a number"
        raise ValueError(f"{label}: expected {what} from {low:g} to {high:g}, got {value!r}") from None
    return number
