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
}
HERE = Path(__file__).parent


class Lab(anywidget.AnyWidget):
    """One live run. `data` is a name in `DATASETS`, `objective` a name in `GAMES`, `activation` one in `ACTIVATIONS`
    (None: tanh for points, leaky ReLU for images). k (None: its game's), the learning rates and the batch size may be
    set too, a game's own number (`DIALS`: unroll_steps, c, lambda_gp), or `players`, a function (shape, seed=...) ->
    (G, D), which the activation then does not concern. `runs` seeds are trained at once, as one tensor program.

    `advance(n)` plays n rounds without a browser; the run itself is `lab.run`. Sets how many threads PyTorch uses.
    Raises ValueError for settings that do not exist or are out of range, OSError for data that cannot be read.
    """

    _esm = (HERE / "draw.js").read_text() + (HERE / "lab.js").read_text()  # one module
    _css = HERE / "lab.css"
    # Traits and no messages, so that a view opened later has the newest picture too.
    scene = traitlets.Dict().tag(sync=True)  # what stays for a run: menus, extent, real data
    status = traitlets.Dict().tag(sync=True)  # playing, settings, messages
    frame = traitlets.Dict().tag(sync=True)  # `Run.frame`, with id, index, frames: its place among those kept

    def __init__(
        self, data: str = "ring", objective: str = "non-saturating", *,
        lr_g: float = 1e-3, lr_d: float = 1e-3, k: int | None = None, seed: int = 0, runs: int = 1,
        activation: str | None = None, batch_size: int | None = None, players: Callable | None = None, **dials,
    ):  # fmt: skip
        super().__init__()
        own = {dial.name: dial.default for dial in DIALS.values()}
        if unknown := dials.keys() - own.keys():
            raise ValueError(
                f"expected settings of a lab, such as {', '.join(own)}; got {', '.join(unknown)}"
            )
        self._players, self._batch_size = players, batch_size
        self._drawing = SMILE  # until the reader draws
        self.playing, self._until, self._task, self._views = False, math.inf, None, 0
        self._sent = self._seen = 0
        self._errors: dict[str, str] = {}
        settings: dict[str, Any] = {"data": _checked("data", data)}
        settings["objective"] = _checked("objective", objective)
        given = {
            "activation": activation or _usual_activation(self._sampler(settings)), "lr_g": lr_g, "lr_d": lr_d,
            "k": GAMES[objective].n_critic if k is None else k, "seed": seed, "runs": runs, **own, **dials,
        }  # fmt: skip
        self._start(settings | {name: _checked(name, value) for name, value in given.items()})
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
            "hidden": (128, 128) if images else (64, 64),
            "activation": ACTIVATIONS[settings["activation"]],
        }
        run = Run(
            data, _game(settings), self._players or partial(mlp_players, **usual),
            seeds=range(settings["seed"], settings["seed"] + settings["runs"]), batch_size=self._batch_size,
            lr_g=settings["lr_g"], lr_d=settings["lr_d"],
        )  # fmt: skip
        own = DIALS.get(settings["objective"])
        without_effect = [dial.name for dial in DIALS.values() if dial is not own]
        without_effect += ["activation"] * bool(self._players) + ["runs"] * images
        torch.set_num_threads(threads(data.kind, live=True))
        self.run, self.settings, self._until = run, settings, math.inf
        self.scene = run.scene() | {
            "menus": MENUS, "numbers": {name: spec[0] for name, spec in NUMBERS.items()},
            "hidden": without_effect, "drawable": settings["data"] == DRAWN,
        }  # fmt: skip
        self._show()
        self._tell(message)

    def _sampler(self, settings: dict[str, Any]):
        if settings["data"] == DRAWN:
            return drawn(self._drawing, extent=(-3.0, 3.0))
        return DATASETS[settings["data"]]()

    def _set(self, name: str, value: Any) -> None:
        mended = self._errors.pop(name, None) is not None
        try:
            value = _checked(name, value)
            if value == self.settings[name]:  # Enter and leaving the field both send the value
                return self._tell() if mended else None
            settings = self.settings | {name: value}
            label = NUMBERS[name][0] if name in NUMBERS else name
            if name == "data":
                new = self._sampler(settings)
                if (new.kind == "images") != (self.run.kind == "images"):  # then the networks change too
                    settings |= {"activation": _usual_activation(new), "runs": 1}
            if name == "objective":
                settings["k"] = GAMES[value].n_critic
            if name in ("data", "objective", "activation", "seed", "runs"):
                return self._start(settings, f"New run: {label} is now {value}.")
        except (ValueError, OSError) as error:
            self._errors[name] = str(value)
            raise ValueError(f"{error}. The run goes on with {self.settings[name]}.") from None
        self.settings, self.run.game = settings, _game(settings)
        for player, optimiser in self.run.match.optimisers.items():
            optimiser.param_groups[0]["lr"] = settings[f"lr_{player.lower()}"]
        self._tell(f"{label} is now {value:g}; the run goes on.")

    def _draw_by_hand(self, points: list) -> None:
        if len(points) > 2000:
            raise ValueError(f"expected at most 2000 drawn points, got {len(points)}")
        drawn(points)  # refuses nonsense before anything changes
        before, self._drawing = self._drawing, points
        settings = self.settings | {"data": DRAWN}
        if self.run.kind == "images":
            settings |= {"activation": _usual_activation(drawn(points))}
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
        except (ValueError, OSError) as error:
            self._tell(str(error), error=True)
        except Exception:  # an exception in a task is silent: show it in the widget
            self.playing = False
            self._tell(traceback.format_exc(limit=-3), error=True)

    def _obey(self, message: dict) -> None:
        """One message of the browser: {"do": name, ...}."""
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
            case "points":
                self._draw_by_hand(message["points"])
            case "frame":
                self.pause()
                # The clock plays them, so that a long ten rounds can be paused.
                self.advance(10) if self._loop is None else self.play(10)
            case "d_move" | "g_move" as move:
                self.pause()
                getattr(self.run, move)()
                self._draw()
            case other:
                raise ValueError(f"unknown command {other!r}")

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


def _usual_activation(data) -> str:
    return "leaky ReLU" if data.kind == "images" else "tanh"


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
    label, number_type, low, high = NUMBERS[name]
    try:
        number = number_type(value)
        if number != float(value) or not low <= number <= high:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if number_type is int else "a number"
        raise ValueError(f"{label}: expected {what} from {low:g} to {high:g}, got {value!r}") from None
    return number
