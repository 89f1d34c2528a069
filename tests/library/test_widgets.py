"""`explore` without a browser: moving a control is setting its value, seeing is reading the picture's bytes."""

import asyncio
import io
import threading

import numpy as np
import pytest
from ipywidgets import HTML, Button, FloatSlider, Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image as Picture

from ganlib.widgets import explore


class Line:
    """A line whose height follows a slider, its value as a text of the axes and as one of the figure."""

    error = ValueError

    def __init__(self):
        self.fig = Figure(figsize=(3, 2))
        ax = self.fig.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        (self.line,) = ax.plot([], [])
        self.text, self.title = ax.text(0.1, 0.9, ""), self.fig.text(0.7, 0.9, "")
        self.calls, self.threads = [], set()

    def update(self, height):
        if height > 1:
            raise self.error("height must be < 1 & positive")
        self.calls.append(height)
        self.threads.add(threading.get_ident())
        self.line.set_data([0.2, 0.8], [height, height])  # clear of the spines, above which it is drawn
        self.text.set_text(f"{height:.2f}")
        self.title.set_text(f"h = {height:.2f}")
        return self.line, self.text, self.title


class Explored(Line):
    def __init__(self, height=0.2):
        super().__init__()
        self.slider = FloatSlider(height, min=0, max=2, description="height")
        self.box = explore(self.fig, self.update, height=self.slider)
        (self.picture,) = (child for child in self.box.children if isinstance(child, Image))
        (self.message,) = (child for child in self.box.children if isinstance(child, HTML))

    def pixels(self):
        return np.asarray(Picture.open(io.BytesIO(self.picture.value)))


def test_the_first_picture_is_there_at_once():
    pixels = Explored().pixels()
    assert pixels.shape == (200, 300, 3)
    assert pixels.min() < 100 < pixels.max()


def test_a_moved_control_changes_the_picture_and_moving_it_back_restores_it():
    explored = Explored()
    before = explored.pixels()
    explored.slider.value = 0.7
    assert (explored.pixels() != before).any()
    explored.slider.value = 0.2
    assert (explored.pixels() == before).all()  # nothing of the other picture is left over


def test_the_picture_is_what_matplotlib_draws_from_nothing():
    explored = Explored()
    explored.slider.value = 0.55
    again = Line()
    again.update(0.55)
    canvas = FigureCanvasAgg(again.fig)
    canvas.draw()
    assert (explored.pixels() == np.asarray(canvas.buffer_rgba())[..., :3]).all()


@pytest.mark.parametrize(("error", "said"), [(ValueError, "'>"), (ZeroDivisionError, "ZeroDivisionError: ")])
def test_an_error_is_shown_and_the_picture_stays(error, said):
    explored = Explored()
    explored.error, before = error, explored.picture.value
    explored.slider.value = 1.5
    assert f"{said}height must be &lt; 1 &amp; positive" in explored.message.value
    assert explored.picture.value == before
    explored.slider.value = 0.2
    assert explored.message.value == ""
    assert explored.picture.value == before


def test_reset_goes_back_to_the_first_settings():
    explored = Explored()
    before = explored.picture.value
    (reset,) = (child for child in explored.box.children[0].children if isinstance(child, Button))
    for height in (0.7, 1.5):  # a good value, and one that gave an error
        explored.slider.value = height
        reset.click()
        assert explored.slider.value == 0.2
        assert explored.picture.value == before and explored.message.value == ""


def test_bad_defaults_are_the_authors_error():
    with pytest.raises(ValueError, match="height must be"):
        Explored(height=1.5)


def test_every_control_and_the_picture_are_in_the_box():
    explored = Explored()
    assert explored.slider in explored.box.children[0].children
    assert "explore-picture" in explored.picture._dom_classes


def test_the_picture_is_never_higher_than_the_window_and_keeps_its_shape():
    layout = Explored().picture.layout
    assert "100vh" in layout.max_height and layout.max_width == "100%" and layout.object_fit == "contain"


def test_in_a_kernel_updates_wait_for_the_main_loop_and_only_the_newest_is_drawn():
    """Callbacks may come on another thread; a queue of old values must not build up."""

    async def kernel():
        explored = Explored()
        drawn, before = len(explored.calls), explored.picture.value

        def drag():
            for height in (0.3, 0.4, 0.5, 0.6):
                explored.slider.value = height

        thread = threading.Thread(target=drag)
        thread.start()
        thread.join()  # the loop is busy meanwhile
        assert len(explored.calls) == drawn
        await asyncio.sleep(0.05)
        assert explored.calls[drawn:] == [0.6]
        assert explored.threads == {threading.get_ident()}
        assert explored.picture.value != before

    asyncio.run(kernel())
