"""The published course: built from the notebooks, and opened page by page in a real browser.

Built once for this module, with short recordings of the lab, into a folder of its own.
"""

import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from helpers import NOTEBOOKS, ROOT
from playwright.sync_api import expect

STEMS = [path.stem for path in NOTEBOOKS]
WHOLE = "00_start_here"  # the page on which formulas and the colours of code are looked at too
LIMIT = 1_000_000  # bytes of recordings on one page
SITE = ROOT / "tools" / "site"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "built"
    command = [sys.executable, SITE / "build.py", "--out", folder, "--frames", "6", "--rounds", "2"]
    subprocess.run([*map(str, command)], check=True, cwd=folder.parent, timeout=400)
    return folder


@pytest.fixture(scope="module")
def served(site):
    """The address of the built folder, served on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def page(browser_context, served):
    """A page that notes what goes wrong on it, and must not have: errors, and requests to elsewhere."""
    page, wrong = browser_context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on(
        "request", lambda r: None if r.url.startswith((served, "data:", "blob:")) else wrong.append(r.url)
    )
    yield page
    page.close()
    assert not wrong


def open_page(page, served: str, name: str):
    page.goto(f"{served}/{name}.html")
    page.wait_for_function("() => !window.MathJax || window.MathJax.startup?.promise")
    page.evaluate("() => window.MathJax?.startup?.promise")


def open_slides(page, served: str, name: str):
    page.goto(f"{served}/{name}.html")
    page.wait_for_function("() => document.body.dataset.ready", timeout=60_000)


BARE = """() => {
  for (const formula of document.querySelectorAll('mjx-container')) formula.replaceChildren();
  for (const code of document.querySelectorAll('article pre')) code.textContent = code.textContent; }"""


def barriers(page) -> list[str]:
    """Serious findings of axe."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    return [f"{each['id']}: {each['help']}; {each['nodes'][0]['html'][:200]}" for each in serious]


# ---- the files ---------------------------------------------------------------------------------------------------


def test_no_link_is_dead_and_no_anchor_is_double(site):
    """Every relative href and src leads to a file, and every fragment to an id on that page, which is there once."""
    text = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    ids = {page: re.findall(r'\bid="([^"]+)"', html) for page, html in text.items()}
    checked = 0
    for page, html in text.items():
        for target in re.findall(r'(?:href|src)="([^"]+)"', html):
            if re.match(r"\w+:|//", target):
                continue
            name, _, fragment = target.partition("#")
            file = (page.parent / name.split("?")[0]).resolve() if name else page
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{page.name}: {target}"
            if fragment and file.suffix == ".html" and file.parent.name != "slides":
                assert ids[file].count(fragment) == 1, f"{page.name}: {target}"
            checked += 1
        numbered = [each for each in ids[page] if each.startswith(("eq-", "fig-"))]
        assert len(numbered) == len(set(numbered)), page.name
    assert checked > 500
    assert (site / ".built-by-tools-site").is_file()  # by which the next build knows this one


def test_every_figure_has_its_caption_as_text(site):
    tags = [
        tag
        for stem in STEMS
        for tag in re.findall(r"<img\b[^>]*>", (site / f"{stem}.html").read_text("utf-8"))
    ]
    assert all(re.search(r'alt="[^"]', tag) for tag in tags)
    alts = [re.search(r'alt="([^"]*)"', tag)[1] for tag in tags if "_images/" in tag]
    assert len(alts) > 50
    assert not [alt for alt in alts if not re.match(r"Figure [^$\\]{40,}$", alt)]


def test_recordings_are_small(site):
    sizes = {}
    for file in (site / "_static" / "recordings").glob("*.js"):
        sizes.setdefault(file.stem.rsplit("-", 1)[0], []).append(file.stat().st_size)
    assert "03_vanilla_gan" in sizes
    assert all(sum(parts) <= LIMIT for parts in sizes.values()), sizes


# ---- the pages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["index", "claims", "engine", *STEMS])
def test_a_page_shows_its_mathematics_and_pictures_to_everyone(page, served, stem):
    open_page(page, served, stem)
    shown = page.evaluate(
        """() => ({ failed: document.querySelectorAll('mjx-merror').length,
             raw: [...document.querySelectorAll('article .math')].filter(m => !m.querySelector('mjx-container')).length,
             broken: [...document.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth).map(i => i.src) })"""
    )
    assert shown == {"failed": 0, "raw": 0, "broken": []}
    # With the tens of thousands of parts of formulas and of code axe takes 14 times as long.
    if stem != WHOLE:
        page.evaluate(BARE)
    assert not barriers(page)


def test_on_a_telephone_nothing_is_cut_off(page, served):
    """What is too wide for it scrolls; the page itself does not."""
    page.set_viewport_size({"width": 390, "height": 800})
    open_page(page, served, "02_optimal_discriminator")
    page.wait_for_function("() => document.querySelector('.math.wide')")
    cut_off = """() => [...document.querySelectorAll('article *')]
      .filter(node => node.getBoundingClientRect().right > innerWidth + 2)
      .filter(node => !node.closest('pre, .table-wrapper, .recorded, div.math, .wide, mjx-container'))
      .map(node => node.outerHTML.slice(0, 100))"""
    assert page.evaluate(cut_off) == []


def test_the_search_finds_a_word(page, served):
    page.goto(f"{served}/search.html?q=saturating")
    page.wait_for_function("() => document.querySelector('#search-results a[href*=\"04_non_saturating\"]')")


def test_a_recorded_lab_plays_pauses_and_scrubs(page, served):
    open_page(page, served, "03_vanilla_gan")
    lab = page.locator(".recorded").first
    lab.scroll_into_view_if_needed()
    slider, play = lab.get_by_role("slider"), lab.locator(".lab-play")
    page.wait_for_function("lab => +lab.dataset.painted > 0", arg=lab.element_handle())
    assert (
        lab.get_attribute("data-step") == "10"
    )  # the last frame, at rest: nothing moves before it is asked to
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("lab => lab.dataset.step === '0'", arg=lab.element_handle())
    click_twice = "play => [0, 1].map(() => { play.click(); return play.closest('.lab').dataset.playing; })"
    assert play.evaluate(click_twice) == ["true", "false"]  # played, and paused before the next frame
    page.wait_for_timeout(300)
    assert lab.get_attribute("data-step") == "0"
    play.focus()
    page.keyboard.press("Space")
    page.wait_for_function("lab => lab.dataset.step === '10'", arg=lab.element_handle())
    page.wait_for_function("lab => lab.dataset.playing === 'false'", arg=lab.element_handle())
    assert lab.get_by_role("button", name="D move").is_disabled()
    assert lab.get_by_label("objective", exact=True).is_disabled()


def test_the_live_lab_learns_the_ring_in_the_page(page, served):
    """The first thing on the first page: it waits for the reader, fills the ring, pauses, and takes other settings."""
    page.set_viewport_size({"width": 1280, "height": 720})
    open_page(page, served, "index")
    lab = page.locator(".live")
    play, canvas, counted = lab.locator(".lab-play"), lab.locator("canvas"), lab.locator(".lab-count")
    expect(counted).to_have_text("step 0 · D moved 0×")
    assert canvas.evaluate("node => node.getBoundingClientRect().bottom") < 720  # nobody has to scroll
    play.click()
    expect(canvas).to_have_attribute("aria-label", re.compile("[678] of 8 modes"), timeout=240_000)
    play.click()
    expect(lab).to_have_attribute("data-playing", "false")
    page.wait_for_timeout(500)  # the last picture is drawn
    step = lab.get_attribute("data-step")
    page.wait_for_timeout(500)
    assert lab.get_attribute("data-step") == step and 200 < int(step) < 3000
    lab.get_by_label("gradient arrows").check()
    expect(lab.locator(".lab-slope")).to_contain_text("median")
    lab.get_by_label("objective", exact=True).select_option("WGAN")
    lab.get_by_role("button", name="+10 rounds").click()
    expect(counted).to_have_text("step 10 · D moved 50×")
    lab.get_by_label("c, where weights are clipped").fill("0")
    lab.get_by_role("button", name="+10 D").click()
    expect(lab.locator(".lab-message")).to_contain_text("a number from 0.0001 to 100, got '0'")
    assert not {"unrolled", "WGAN-GP", "digits"} & {*lab.locator("option").all_text_contents()}
    assert not barriers(page)


# ---- the slides --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_slides_fit_on_the_projector(page, served, stem):
    """At 1280 x 720 nothing is cut off, and the text is large enough to read."""
    page.set_viewport_size({"width": 1280, "height": 720})
    open_slides(page, served, f"slides/{stem}")
    slides = page.evaluate(
        """() => [...document.querySelectorAll('.slides .slide')].map((slide, i) => {
             const {h, v} = Reveal.getIndices(slide); Reveal.slide(h, v);
             const boxes = [...slide.querySelectorAll('p, li, pre, img, h1, h2, h3, td, mjx-container')]
               .map(node => node.getBoundingClientRect()).filter(box => box.width);
             const origin = slide.getBoundingClientRect();
             return { i, text: slide.innerText,
               whole: Reveal.getScale() === 1 && slide.scrollHeight <= slide.clientHeight,
               bottom: Math.max(...boxes.map(b => b.bottom)) - origin.top,
               right: Math.max(...boxes.map(b => b.right)) - origin.left,
               size: Math.min(...[...slide.querySelectorAll('p, li, pre')]
                 .map(n => parseFloat(getComputedStyle(n).fontSize) * (n.currentCSSZoom ?? 1)), 99),
               pictures: Math.min(...[...slide.querySelectorAll('figure img')]
                 .map(image => image.clientWidth / image.naturalWidth), 1) }; })"""
    )
    assert len(slides) >= 10
    assert not [
        s for s in slides if s["bottom"] > 722 or s["right"] > 1282 or s["size"] < 15 or not s["whole"]
    ]
    assert all(slide["pictures"] > 0.6 for slide in slides)
    assert all(len(slide["text"].split()) > 3 for slide in slides)  # none is empty
    assert not [s["text"] for s in slides if re.match("Exercises|Solutions", s["text"])]  # not in a lecture


def test_axe_finds_no_serious_violation_on_slides(page, served):
    """On the title, on a figure, on code with formulas, and on the lab."""
    open_slides(page, served, "slides/03_vanilla_gan")
    for shown in ("h1", "figure", ".code", ".recorded"):
        page.evaluate(
            """shown => { const slide = document.querySelector(`.slides .slide:has(${shown})`);
                 const {h, v} = Reveal.getIndices(slide); Reveal.slide(h, v); }""",
            shown,
        )
        page.wait_for_timeout(400)  # the old slide has faded
        assert not barriers(page), shown


def test_a_lecture_by_keyboard_from_slides_that_nbconvert_made(page, served, site):
    """`jupyter nbconvert --to slides` with our configuration: no network, and the space bar shows every slide."""
    config = SITE / "slides" / "nbconvert_config.py"
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "slides",
        "--config",
        config,
        "--output-dir",
        site / "one",
    ]
    subprocess.run([*map(str, command), str(NOTEBOOKS[0])], check=True, timeout=60)
    open_slides(page, served, f"one/{STEMS[0]}.slides")
    assert page.evaluate("() => document.querySelectorAll('mjx-merror').length") == 0
    seen, total = set(), page.locator(".slides .slide").count()
    for _ in range(total):
        seen.add(page.evaluate("() => { const {h, v} = Reveal.getIndices(); return `${h}.${v ?? 0}` }"))
        page.keyboard.press("Space")
    assert len(seen) == total >= 10
