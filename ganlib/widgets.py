"""Figures that answer to sliders. The lab is in `ganlib.lab`."""

import asyncio
import html
import io
from collections.abc import Callable, Iterable

import ipywidgets
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


def explore(
    fig: Figure, update: Callable[..., Iterable[Artist]], **controls: ipywidgets.Widget
) -> ipywidgets.VBox:
    """`fig` under `controls`: a moved control calls `update(**values)`, which sets data on artists of `fig` and
    returns all artists it ever changes (as in matplotlib's FuncAnimation with blit=True). A button takes the controls
    back to where they were.

    The rest of the figure is drawn once, so a redraw takes about 30 ms; while one is drawn, newer values wait and
    only the newest is drawn. An error of `update` is shown under the figure, and the picture stays (on the first call
    it is raised).
    """
    canvas = FigureCanvasAgg(fig)
    artists = list(update(**_values(controls)))
    canvas.draw()
    fig.set_layout_engine("none")  # the axes are placed; a live layout engine costs more than the drawing
    for artist in artists:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(fig.bbox)
    picture, message = ipywidgets.Image(format="png"), ipywidgets.HTML()
    picture.add_class("explore-picture")
    # On a small screen the whole figure under its controls, not the upper part of it.
    picture.layout.max_width, picture.layout.max_height = "100%", "calc(100vh - 230px)"
    picture.layout.object_fit, picture.layout.object_position = "contain", "left"
    loop, waiting = _running_loop(), []

    def draw():
        waiting.clear()
        try:
            update(**_values(controls))
            message.value = ""
        except Exception as error:
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            message.value = f"<span role='alert'>{html.escape(said)}</span>"
            return
        canvas.restore_region(background)
        for artist in artists:
            fig.draw_artist(artist)
        png = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(png, "png", compress_level=1)
        picture.value = png.getvalue()

    def on_change(_):
        # Callbacks may come on another thread: hand the work to the kernel's main loop, once per redraw.
        if loop is None:
            draw()
        elif not waiting:
            waiting.append(True)
            loop.call_soon_threadsafe(draw)

    for control in controls.values():
        control.observe(on_change, "value")
    start, reset = _values(controls), ipywidgets.Button(description="Reset", layout={"width": "80px"})

    def on_reset(_):
        for name, control in controls.items():
            control.value = start[name]

    reset.on_click(on_reset)
    draw()
    return ipywidgets.VBox(
        [ipywidgets.HBox([*controls.values(), reset], layout={"flex_flow": "row wrap"}), picture, message]
    )


def _values(controls):
    return {name: control.value for name, control in controls.items()}


def _running_loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # plain Python, a test
        return None
