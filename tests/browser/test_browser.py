"""The course as a reader meets it: JupyterLab in a real browser."""

import ast
import os
import re
from pathlib import Path

import nbformat
from conftest import READY
from helpers import ROOT
from playwright.sync_api import expect

SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", ROOT / "artifacts"))
PAINTED = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (const value of data) sum = (sum * 31 + value) % 4294967291;
  return sum }"""


class LabOnPage:
    """The lab as a hand and an eye meet it."""

    def __init__(self, notebook):
        self.notebook, self.root = notebook, notebook.page.locator(".lab").first
        self.root.locator("canvas").wait_for()
        self.root.scroll_into_view_if_needed()

    def press(self, name: str):
        self.root.get_by_role("button", name=name).click()

    def counts(self) -> tuple[int, int]:
        step, d_moves = re.findall(r"\d+", self.root.locator(".lab-count").inner_text())
        return int(step), int(d_moves)

    def expect_counts(self, step: int, d_moves: int):
        expect(self.root.locator(".lab-count")).to_have_text(f"step {step} · D moved {d_moves}×")

    def expect_playing(self, playing: bool):
        expect(self.root).to_have_attribute("data-playing", str(playing).lower())

    def expect_message(self, words: str):
        expect(self.root.locator(".lab-message")).to_contain_text(words)

    def wait_for_step(self, step: int):
        self.notebook.page.wait_for_function(
            "([lab, step]) => +lab.dataset.step >= step",
            arg=[self.root.element_handle(), step],
            timeout=90_000,
        )

    def picture(self) -> int:
        return self.root.locator("canvas").evaluate(PAINTED)

    def choose(self, label: str, value: str):
        self.root.get_by_label(label, exact=True).select_option(value)

    def type(self, label: str, value: str):
        box = self.root.get_by_label(label, exact=True)
        box.fill(value)
        box.press("Enter")

    def screenshot(self, name: str):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.root.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_the_lab_in_notebook_03(open_notebook):
    """Play, pause, both single moves, look back, new settings, nonsense, another objective, digits, reset."""
    notebook = open_notebook(cells_of("03_vanilla_gan", "import torch", "Lab(")).run_all()
    lab = LabOnPage(notebook)
    lab.expect_counts(0, 0)
    first = lab.picture()

    lab.press("Play")
    lab.expect_playing(True)
    lab.wait_for_step(300)
    lab.press("Pause")
    lab.expect_playing(False)
    assert lab.picture() != first
    step, d_moves = lab.counts()
    assert step == d_moves >= 300
    lab.screenshot("03-ring")

    lab.press("D move")
    lab.expect_counts(step, d_moves + 1)
    lab.press("G move")
    lab.expect_counts(step + 1, d_moves + 1)
    lab.press("+10 rounds")
    lab.expect_counts(step + 11, d_moves + 11)

    newest = lab.picture()
    lab.root.get_by_label("look back").press("Home")
    lab.expect_counts(0, 0)
    assert lab.picture() != newest
    lab.root.get_by_label("look back").press("End")
    lab.expect_counts(step + 11, d_moves + 11)

    for nonsense in ("", "-1", "1000", "abc"):
        lab.type("learning rate of D", nonsense)
        lab.expect_message("learning rate of D: expected a number from 1e-06 to 1")
    lab.expect_counts(step + 11, d_moves + 11)  # the run stands where it stood
    lab.type("learning rate of D", "0.0005")
    lab.expect_message("learning rate of D is now 0.0005; the run goes on.")

    lab.press("Play")
    lab.choose("objective", "hinge")
    lab.expect_message("New run: objective is now hinge.")
    lab.expect_playing(True)  # a new run goes on playing
    lab.press("Pause")
    lab.expect_playing(False)
    lab.press("Reset")
    lab.expect_counts(0, 0)

    lab.choose("data", "digits")
    lab.expect_message("New run: data is now digits.")
    lab.press("Play")
    lab.wait_for_step(50)
    lab.press("Pause")
    lab.expect_playing(False)
    lab.screenshot("03-digits")
    assert notebook.error_text() == ""
    assert notebook.errors == []
    assert notebook.external == []


def test_points_drawn_with_the_mouse(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab", "Lab(data='drawn by hand')"]).run_all()
    lab = LabOnPage(notebook)
    lab.expect_message("Draw on the square with the mouse")
    square = lab.root.locator("canvas").bounding_box()
    mouse = notebook.page.mouse
    mouse.move(square["x"] + 150, square["y"] + 150)
    mouse.down()
    mouse.move(square["x"] + 350, square["y"] + 300, steps=15)
    mouse.up()
    lab.expect_message("drawn points")
    lab.expect_counts(0, 0)
    lab.press("Play")
    lab.wait_for_step(600)
    lab.press("Pause")
    lab.expect_playing(False)
    lab.screenshot("drawn")
    drawn = lab.picture()
    lab.press("Clear the drawing")
    lab.expect_message("Cleared. Draw on the square")
    notebook.page.wait_for_function(
        "lab => lab.querySelector('.lab-play').disabled", arg=lab.root.element_handle()
    )
    assert lab.picture() != drawn  # the data are gone, and nothing can be trained on them
    assert notebook.errors == [] and notebook.error_text() == ""


def test_running_the_cell_again_stops_the_old_run(open_notebook):
    notebook = open_notebook(
        ["from ganlib.lab import Lab\nlabs = []", "labs.append(Lab())\nlabs[-1]"]
    ).run_all()
    lab = LabOnPage(notebook)
    lab.press("Play")
    lab.wait_for_step(30)
    notebook.run_all()  # makes a new list, and a new lab in it
    lab = LabOnPage(notebook)
    lab.expect_counts(0, 0)
    lab.expect_playing(False)
    count = """import asyncio
playing = [task for task in asyncio.all_tasks() if "_play" in repr(task)]
print(len(playing))"""
    assert notebook.execute(count) == "0\n"


def test_two_labs_on_one_page(open_notebook):
    notebook = open_notebook(
        ["from ganlib.lab import Lab", "Lab(seed=1)", "Lab(data='moons', seed=2)"]
    ).run_all()
    notebook.page.locator(".lab canvas").nth(1).wait_for()
    roots = notebook.page.locator(".lab").all()
    assert len(roots) == 2
    for root in roots:
        root.get_by_role("button", name="Play").click()
    for root in roots:
        notebook.page.wait_for_function("lab => +lab.dataset.step >= 30", arg=root.element_handle())
        root.get_by_role("button", name="Pause").click()
        expect(root).to_have_attribute("data-playing", "false")
    assert notebook.errors == [] and notebook.error_text() == ""


def modes_by_step(notebook) -> dict[int, list[int]]:
    """The modes covered, run by run, in each frame that `lab` has kept."""
    code = "print({f['step']: f['modes'] for f in lab.run.frames()})"
    return ast.literal_eval(notebook.execute(code))


def test_collapse_and_its_cure_live(open_notebook):
    """A slow D: one clump that visits mode after mode. Then a faster one, typed in while it runs: the ring fills."""
    code = "from ganlib.lab import Lab\nlab = Lab(activation='ReLU', lr_d=5e-4)\nlab"
    notebook = open_notebook([code]).run_all()
    lab = LabOnPage(notebook)
    lab.press("Play")
    lab.wait_for_step(1000)
    lab.press("Pause")
    lab.expect_playing(False)
    modes = modes_by_step(notebook)
    collapsed = max(modes)
    most = max(m[0] for m in modes.values())
    assert 1 <= most <= 3  # a clump on its way; which frames are seen is chance
    lab.screenshot("collapse")
    lab.type("learning rate of D", "0.0015")
    lab.expect_message("the run goes on")
    lab.press("Play")
    lab.wait_for_step(collapsed + 1400)
    lab.press("Pause")
    lab.expect_playing(False)
    modes = modes_by_step(notebook)
    late = [m[0] for step, m in modes.items() if step > collapsed + 1200]
    assert sum(late) / len(late) >= most + 1.5
    lab.screenshot("cure")
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_six_seeds_live(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab(runs=6)\nlab"]).run_all()
    lab = LabOnPage(notebook)
    before = lab.picture()
    lab.press("Play")
    lab.wait_for_step(60)
    lab.press("Pause")
    lab.expect_playing(False)
    assert lab.picture() != before
    last = modes_by_step(notebook)
    assert len(last[max(last)]) == 6
    lab.type("seeds at once", "2")
    lab.expect_message("New run: seeds at once is now 2")
    lab.expect_counts(0, 0)
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_dcgan_on_clothes_live(open_notebook):
    """The lab of notebook 05: pictures at fixed latents change while it plays, and stand still when it pauses."""
    (cell,) = [
        cell.source
        for cell in nbformat.read(ROOT / "notebooks" / "05_dcgan.ipynb", as_version=4).cells
        if "widget" in cell.metadata.get("tags", []) and "Lab(" in cell.source
    ]
    imports = "from ganlib.lab import Lab\nfrom ganlib.networks import dcgan_players"
    notebook = open_notebook([imports, f"lab = {cell}\nlab"]).run_all()
    lab = LabOnPage(notebook)
    lab.expect_counts(0, 0)
    seen = [lab.picture()]
    lab.press("Play")
    lab.expect_playing(True)
    for step in (10, 25):
        lab.wait_for_step(step)
        seen.append(lab.picture())
    lab.press("Pause")
    lab.expect_playing(False)
    assert len(set(seen)) == 3
    step, d_moves = lab.counts()
    assert step == d_moves >= 25
    frames = notebook.execute(
        "print(type(lab.run.G).__name__, len({f['pixels'] for f in lab.run.frames()}))"
    ).split()
    assert frames[0] == "DCGenerator" and int(frames[1]) >= 3
    lab.screenshot("05-clothes")
    newest = lab.picture()
    lab.root.get_by_label("look back").press("Home")
    lab.expect_counts(0, 0)
    assert lab.picture() == seen[0] != newest
    lab.press("D move")
    lab.expect_counts(step, d_moves + 1)
    assert notebook.errors == [] and notebook.error_text() == "" and notebook.external == []


def cells_of(name: str, *words: str) -> list[str]:
    """The first code cell of a notebook that contains each of these words."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    return [next(source for source in sources if word in source) for word in words]


def test_unrolling_live(open_notebook):
    """The lab of notebook 09: the slow D of the collapse above, and a G that looks ahead; K typed in while it runs."""
    (cell,) = cells_of("09_unrolled_gan", 'Lab(objective="unrolled"')
    notebook = open_notebook([f"from ganlib.lab import Lab\nlab = {cell}\nlab"]).run_all()
    lab = LabOnPage(notebook)
    lab.type("seeds at once", "1")  # faster; the first of the six
    lab.expect_message("New run: seeds at once is now 1")
    lab.press("Play")
    lab.wait_for_step(650)
    lab.type("K, moves looked ahead", "0")
    lab.expect_message("K, moves looked ahead is now 0; the run goes on.")
    lab.press("Pause")
    lab.expect_playing(False)
    modes = modes_by_step(notebook)
    assert max(m[0] for step, m in modes.items() if 550 < step <= 650) >= 3  # without look-ahead: 0 or 1
    assert notebook.execute("print(lab.run.game.unroll_steps)") == "0\n"
    lab.screenshot("09-unrolled")
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_the_replay_of_notebook_09(open_notebook):
    """Its sliders move the picture; with invented runs, for the true ones take minutes."""
    setup, board, widget = cells_of("09_unrolled_gan", "import ipywidgets", "def board(", "explore(")
    runs = """from types import SimpleNamespace
STEPS, DOSES, DATA, SEEDS, START = 1000, (0, 5), ring(), range(6), {"step": 500, "seed": 0}
colours, shapes = {0: "C0", 5: "C1"}, {0: "o", 5: "v"}
runs = {K: SimpleNamespace(samples=torch.randn(21, 6, 400, 2), modes=np.random.randint(0, 9, (21, 6)), seconds=1.0)
        for K in DOSES}"""
    notebook = open_notebook([setup, runs, board, widget]).run_all()
    picture = notebook.page.locator("img.explore-picture, .explore-picture img").first
    picture.wait_for()
    seen = {picture.get_attribute("src")}
    for label, value in (("step", "50"), ("seed", "5")):
        slider = notebook.page.locator(".widget-slider", has_text=label)
        slider.locator(".widget-readout").fill(value)
        slider.locator(".widget-readout").press("Enter")
        expect(slider.locator(".widget-readout")).to_have_text(value)
        notebook.page.wait_for_function(
            "([image, old]) => !old.includes(image.src)", arg=[picture.element_handle(), list(seen)]
        )
        seen.add(picture.get_attribute("src"))
    picture.screenshot(path=SCREENSHOTS / "09-replay.png")
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_the_critics_surface_live(open_notebook):
    """The lab of notebook 08: play, lambda and k while it runs, then the clipped critic and its c."""
    notebook = open_notebook(
        [
            "from ganlib.lab import Lab",
            'lab = Lab(objective="WGAN-GP", lr_g=2e-3, lr_d=2e-3, k=2, lambda_gp=0.3)\nlab',
        ]
    ).run_all()
    lab = LabOnPage(notebook)
    seen = [lab.picture()]
    lab.press("Play")
    lab.wait_for_step(100)
    lab.type("lambda of the penalty", "30")
    lab.expect_message("lambda of the penalty is now 30; the run goes on.")
    lab.type("k, moves of D", "5")
    lab.expect_message("k, moves of D is now 5; the run goes on.")
    step = lab.counts()[0]
    lab.wait_for_step(step + 20)
    lab.press("Pause")
    lab.expect_playing(False)
    seen.append(lab.picture())
    lab.type("lambda of the penalty", "-1")
    lab.expect_message("lambda of the penalty: expected a number from 0 to 10000")
    step, d_moves = lab.counts()
    lab.press("D move")  # G stands still: only the surface and the counts change
    lab.expect_counts(step, d_moves + 1)
    seen.append(lab.picture())
    assert notebook.execute("print(lab.run.game.penalty.weight)") == "30.0\n"
    lab.screenshot("08-penalised")

    lab.choose("objective", "WGAN")
    lab.expect_message("New run: objective is now WGAN.")
    lab.type("c, where weights are clipped", "0.02")
    lab.expect_message("c, where weights are clipped is now 0.02; the run goes on.")
    lab.type("c, where weights are clipped", "0")
    lab.expect_message("c, where weights are clipped: expected a number from 0.0001 to 100")
    lab.press("+10 rounds")
    lab.expect_counts(10, 50)
    seen.append(lab.picture())
    largest = "print(max(w.abs().max().item() for w in lab.run.D.parameters()) <= 0.02 * (1 + 1e-6))"
    assert notebook.execute(largest) == "True\n"
    lab.screenshot("08-clipped")
    assert len(set(seen)) == len(seen)
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_the_kernel_is_restarted_while_the_lab_trains(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab"]).run_all()
    lab = LabOnPage(notebook)
    lab.press("Play")
    lab.wait_for_step(30)
    notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    notebook.page.wait_for_function(READY, arg=notebook.name, timeout=60_000)
    notebook.run_all()
    lab = LabOnPage(notebook)
    lab.expect_counts(0, 0)
    lab.press("Play")
    lab.wait_for_step(30)
    lab.press("Pause")
    lab.expect_playing(False)
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_the_browsers_tab_is_closed_while_the_lab_trains(open_notebook):
    """The run stops with nobody to watch it, and whoever opens the notebook again finds it where it stood."""
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab"], own_tab=True).run_all()
    lab = LabOnPage(notebook)
    lab.press("Play")
    lab.wait_for_step(100)
    notebook.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    notebook.page.close()
    notebook.open()
    assert notebook.execute("before = lab.run.step; print(lab.playing, before >= 100)") == "False True\n"
    assert notebook.execute("print(lab.run.step == before)") == "True\n"
    lab = LabOnPage(notebook)
    step, d_moves = lab.counts()
    assert step == d_moves >= 100
    lab.press("Play")
    lab.wait_for_step(step + 30)
    lab.press("Pause")
    lab.expect_playing(False)
    assert not notebook.errors and not notebook.external and not notebook.error_text()


def test_the_lab_is_live_in_jupyterlabs_slideshow(open_notebook):
    """With jupyterlab-slideshow, in the extra `lecture`."""
    notebook = open_notebook(["from ganlib.lab import Lab", "Lab()"], own_tab=True).run_all()
    lab = LabOnPage(notebook)
    notebook.page.evaluate(
        """() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
                   window.jupyterapp.commands.execute('deck:start'); return null }"""
    )
    notebook.page.wait_for_function("() => document.body.dataset.jpDeckMode === 'presenting'")
    lab.press("Play")
    lab.wait_for_step(30)
    lab.press("Pause")
    lab.expect_playing(False)
    notebook.page.screenshot(path=SCREENSHOTS / "slideshow.png")
    assert not notebook.errors and not notebook.external and not notebook.error_text()
