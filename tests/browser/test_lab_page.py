"""The lab in a real browser: what is seen at which size, what can be switched on, and what it says of mishaps."""

import pytest
from conftest import READY
from playwright.sync_api import expect
from test_browser import LabOnPage

# Every word on the canvas with the box it fills, written down while the next picture is drawn.
WORDS = """lab => new Promise(resolve => {
  const real = CanvasRenderingContext2D.prototype.fillText, seen = [];
  CanvasRenderingContext2D.prototype.fillText = function (words, x, y, ...rest) {
    const size = parseFloat(this.font.match(/([\\d.]+)px/)[1]), width = this.measureText(words).width;
    const left = { left: x, right: x - width, center: x - width / 2 }[this.textAlign];
    seen.push({ words, left, top: y - size / 2, right: left + width, bottom: y + size / 2,
      width: this.canvas.clientWidth });
    return real.call(this, words, x, y, ...rest);
  };
  window.dispatchEvent(new Event('resize'));
  setTimeout(() => { CanvasRenderingContext2D.prototype.fillText = real; resolve(seen); }, 400);
})"""


def overlapping(words: list[dict]) -> list[tuple]:
    """Pairs of words that lie over one another, and words that leave the canvas."""
    pairs = [
        (a["words"], b["words"])
        for i, a in enumerate(words)
        for b in words[i + 1 :]
        if a["left"] < b["right"] - 1 and b["left"] < a["right"] - 1
        and a["top"] < b["bottom"] - 1 and b["top"] < a["bottom"] - 1
    ]  # fmt: skip
    return pairs + [(w["words"], "the edge") for w in words if w["left"] < -1 or w["right"] > w["width"] + 1]


def boxes(lab: LabOnPage) -> dict:
    return lab.root.evaluate(
        """lab => { const box = node => { const b = node.getBoundingClientRect();
             return { left: b.left, top: b.top, right: b.right, bottom: b.bottom, width: b.width, height: b.height }; };
           const panel = lab.closest('.jp-WindowedPanel-outer');
           return { lab: box(lab), canvas: box(lab.querySelector('canvas')),
             settings: box(lab.querySelector('.lab-settings')), free: panel.clientHeight,
             sideways: lab.scrollWidth > lab.clientWidth
               || lab.parentElement.scrollWidth > lab.parentElement.clientWidth }; }"""
    )


@pytest.mark.parametrize("runs", [1, 6])
def test_what_is_seen_at_which_size(open_notebook, runs):
    """On a projector all at once; on a narrow page one below the other. Never sideways, and no word over another."""
    code = f"from ganlib.lab import Lab\nlab = Lab(runs={runs})\nfor _ in range(12): lab.advance(5)\nlab"
    notebook = open_notebook([code]).run_all()
    page = notebook.page
    lab = LabOnPage(notebook)
    for width, height in ((1280, 720), (900, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        if width == 900:
            page.evaluate("() => { window.jupyterapp.shell.collapseLeft(); return null }")
        page.wait_for_timeout(700)
        lab.root.scroll_into_view_if_needed()
        words, at = lab.root.evaluate(WORDS), boxes(lab)
        assert not at["sideways"], (width, at)
        assert overlapping(words) == [], width
        assert len(words) > 10
        if width == 1280:
            assert at["lab"]["height"] <= at["free"]
            assert at["settings"]["left"] >= at["canvas"]["right"]  # beside the picture
            assert at["canvas"]["height"] >= 330
        if width == 390:
            assert at["settings"]["top"] >= at["canvas"]["bottom"]
        lab.screenshot(f"size-{width}-{runs}")
    page.set_viewport_size({"width": 1400, "height": 1000})
    assert notebook.errors == [] and notebook.error_text() == ""


def test_full_screen_and_the_dark_theme(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab.advance(20)\nlab"]).run_all()
    lab, page = LabOnPage(notebook), notebook.page
    corner = "canvas => [...canvas.getContext('2d').getImageData(2, 2, 1, 1).data]"
    assert lab.root.locator("canvas").evaluate(corner) == [255, 255, 255, 255]
    theme = "name => { window.jupyterapp.commands.execute('apputils:change-theme', { theme: name }); return null }"
    page.evaluate(theme, "JupyterLab Dark")
    expect(lab.root).to_have_class(r"lm-Widget lab lab-beside lab-dark", timeout=20_000)
    page.wait_for_timeout(500)
    assert max(lab.root.locator("canvas").evaluate(corner)[:3]) < 60
    lab.screenshot("dark")
    small = boxes(lab)["canvas"]
    lab.press("full screen")
    page.wait_for_function("() => document.fullscreenElement?.classList.contains('lab')")
    page.wait_for_timeout(500)
    large = boxes(lab)["canvas"]
    assert large["width"] > small["width"] and large["height"] > small["height"]
    lab.press("full screen")
    page.wait_for_function("() => !document.fullscreenElement")
    page.evaluate(theme, "JupyterLab Light")
    expect(lab.root).to_have_class(r"lm-Widget lab lab-beside", timeout=20_000)
    assert notebook.errors == [] and notebook.error_text() == ""


def test_whoever_uses_the_keyboard_sees_where_they_are(open_notebook):
    """JupyterLab has a rule of its own for the focus, which was invisible on the blue button."""
    notebook = open_notebook(["from ganlib.lab import Lab\nLab()"]).run_all()
    lab, page = LabOnPage(notebook), notebook.page
    lab.root.get_by_role("button", name="+10 rounds").focus()
    page.keyboard.press("Shift+Tab")
    style = "node => { const s = getComputedStyle(node); return [s.outlineWidth, s.outlineColor, s.outlineOffset] }"
    play = lab.root.get_by_role("button", name="Play")
    expect(play).to_be_focused()
    assert play.evaluate(style) == ["3px", "rgb(213, 94, 0)", "2px"]
    page.keyboard.press("Space")
    lab.wait_for_step(20)
    page.keyboard.press("Space")
    lab.expect_playing(False)
    assert notebook.errors == [] and notebook.error_text() == ""


def test_a_restarted_kernel_is_told_of(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab"]).run_all()
    lab, page = LabOnPage(notebook), notebook.page
    lab.press("Play")
    lab.wait_for_step(30)
    page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart(); return null }"
    )
    lab.expect_message("run this cell again")
    lab.expect_playing(False)
    expect(lab.root.get_by_role("button", name="+10 rounds")).to_be_disabled()
    expect(lab.root.get_by_label("seed", exact=True)).to_be_disabled()
    lab.screenshot("restarted")
    page.wait_for_function(READY, arg=notebook.name, timeout=60_000)
    lab.expect_message("run this cell again")
    notebook.run_all()
    lab = LabOnPage(notebook)
    lab.press("+10 rounds")
    lab.expect_counts(10, 10)
    assert notebook.errors == [] and notebook.error_text() == ""


def test_a_kernel_that_does_not_answer_is_told_of(open_notebook):
    """As one that has died; here it only sleeps, and then it answers."""
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab"]).run_all()
    lab = LabOnPage(notebook)
    notebook.page.evaluate(
        """() => { const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
             kernel.requestExecute({ code: 'import time; time.sleep(9)' }); return null }"""
    )
    lab.press("+10 rounds")
    expect(lab.root.locator(".lab-message")).to_contain_text("The kernel does not answer", timeout=9_000)
    lab.expect_counts(0, 0)
    expect(lab.root.locator(".lab-count")).to_have_text("step 10 · D moved 10×", timeout=30_000)
    expect(lab.root.locator(".lab-message")).not_to_contain_text("does not answer")
    assert notebook.errors == [] and notebook.error_text() == ""


def test_every_wrong_number_is_explained_and_a_change_leaves_its_mark(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab.advance(20)\nlab"]).run_all()
    lab = LabOnPage(notebook)
    lab.type("learning rate of D", "-1")
    lab.type("seed", "x")
    lab.type("k, moves of D", "2")
    for words in (
        "k, moves of D is now 2",
        "learning rate of D: expected a number",
        "seed: expected a whole number",
    ):
        lab.expect_message(words)
    for name in ("learning rate of D", "seed"):
        expect(lab.root.get_by_label(name, exact=True)).to_have_attribute("aria-invalid", "true")
    lab.press("+10 rounds")
    lab.expect_counts(30, 40)
    assert "k = 2" in [word["words"] for word in lab.root.evaluate(WORDS)]
    lab.type("learning rate of D", "0.001")
    lab.type("seed", "0")
    expect(lab.root.locator(".lab-message")).not_to_contain_text("expected")
    assert notebook.errors == [] and notebook.error_text() == ""


def test_an_answer_does_not_undo_what_is_being_typed(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab"]).run_all()
    lab = LabOnPage(notebook)
    box = lab.root.get_by_label("seed", exact=True)
    box.fill("7")
    lab.root.get_by_role("button", name="+10 rounds").evaluate("button => button.click()")  # the focus stays
    lab.expect_counts(10, 10)
    expect(box).to_have_value("7")
    box.press("Enter")
    lab.expect_counts(0, 0)
    assert notebook.execute("print(lab.settings['seed'])") == "7\n"


def test_arrows_and_grid_live(open_notebook):
    """Each switch changes the picture, and switched off again it is the old one; they stay on while the lab plays."""
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab()\nlab.advance(50)\nlab"]).run_all()
    lab = LabOnPage(notebook)
    seen = [lab.picture()]
    for name, words in (
        ("gradient arrows", "half of the longest arrow"),
        ("latent grid", "a square of latents"),
    ):
        box = lab.root.get_by_label(name)
        box.check()
        lab.expect_message(words)
        seen.append(lab.picture())
    expect(lab.root.locator(".lab-slope")).to_contain_text("median 0.")
    assert len(set(seen)) == 3
    lab.press("Play")
    lab.wait_for_step(120)
    lab.press("Pause")
    lab.expect_playing(False)
    lab.screenshot("arrows-and-grid")
    lengths = notebook.execute("print(len(lab.frame['arrows']), len(lab.frame['grid']))")
    assert lengths == f"{128 * 2 * 4} {18 * 33 * 2 * 4}\n"
    with_both = lab.picture()
    for name in ("gradient arrows", "latent grid"):
        lab.root.get_by_label(name).uncheck()
    expect(lab.root.locator(".lab-slope")).to_be_hidden()
    assert lab.picture() != with_both
    lab.choose("data", "digits")
    lab.expect_message("New run: data is now digits")
    expect(lab.root.get_by_label("latent grid")).to_be_hidden()
    assert notebook.errors == [] and notebook.error_text() == "" and notebook.external == []


def test_moves_presets_and_the_call_to_copy(open_notebook):
    notebook = open_notebook(["from ganlib.lab import Lab\nlab = Lab(seed=3)\nlab"]).run_all()
    notebook.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab, page = LabOnPage(notebook), notebook.page
    lab.press("+10 D")
    lab.expect_counts(0, 10)
    lab.expect_message("D moved 10 times: d_loss 1.")
    lab.press("+10 G")
    lab.expect_counts(10, 10)
    lab.expect_message("G moved 10 times: g_loss 0.")
    lab.press("rotates")
    lab.expect_message("New run: rotates.")
    expect(lab.root.get_by_label("learning rate of D", exact=True)).to_have_value("0.0005")
    expect(lab.root.get_by_label("activation", exact=True)).to_have_value("ReLU")
    lab.press("+10 rounds")
    lab.expect_counts(10, 10)
    lab.type("numbers in z", "2")
    lab.expect_message("New run: numbers in z is now 2.")
    lab.press("Copy as code")
    call = (
        'Lab(data="ring", objective="non-saturating", lr_d=0.0005, activation="ReLU", latent_dim=2, seed=3)'
    )
    lab.expect_message(f"Copied: {call}")
    assert page.evaluate("() => navigator.clipboard.readText()") == call
    assert notebook.execute(f"print({call}.settings == lab.settings)") == "True\n"
    lab.press("digits")
    lab.expect_message("New run: digits.")
    lab.press("Defaults")
    lab.expect_message("the settings that this lab was opened with")
    expect(lab.root.get_by_label("numbers in z", exact=True)).to_have_value("16")
    expect(lab.root.get_by_label("data", exact=True)).to_have_value("ring")
    assert notebook.errors == [] and notebook.error_text() == "" and notebook.external == []


def test_axe_finds_no_serious_violation_in_the_lab(open_notebook):
    from axe_playwright_python.sync_playwright import Axe

    notebook = open_notebook(["from ganlib.lab import Lab\nLab(runs=2, grid=True)"]).run_all()
    lab = LabOnPage(notebook)
    found = Axe().run(notebook.page, context={"include": [[".lab"]]}, options={"resultTypes": ["violations"]})
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in serious]
    lab.press("+10 rounds")
    lab.expect_counts(10, 10)
