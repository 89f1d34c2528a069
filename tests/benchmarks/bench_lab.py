"""How smooth the lab is: frames shown a second, share of unwatched training speed, time from click to stop.

Run on a quiet machine: pytest -n 0 -s tests/benchmarks/bench_lab.py
"""

import json
import statistics
import time

import pytest

pytest_plugins = ["browser.conftest"]

SETUP = """import json, time, torch
torch.set_num_threads(1)
from ganlib.lab import Lab
from ganlib.networks import dcgan_players
began = time.perf_counter()
lab = Lab({settings})
first_picture = time.perf_counter() - began
lab.advance({warm_up})"""
LABS = {  # what the notebooks show: the lab's settings, and the rounds to warm up with
    "ring": ("data='ring'", 50),
    "digits": ("data='digits'", 50),
    "DCGAN on clothes": ("data='fashion', players=dcgan_players, lr_g=2e-3, lr_d=5e-4", 10),
}
UNWATCHED = """step, began = lab.run.step, time.perf_counter()
while time.perf_counter() - began < 3:
    lab.run.round()
print(json.dumps(dict(rate=(lab.run.step - step) / (time.perf_counter() - began), first=first_picture)))"""


@pytest.mark.parametrize("name", LABS)
def test_smoothness(open_notebook, name):
    settings, warm_up = LABS[name]
    notebook = open_notebook([SETUP.format(settings=settings, warm_up=warm_up), "lab"]).run_all()
    page = notebook.page
    page.locator(".lab-canvas").wait_for()
    page.locator(".lab-play").scroll_into_view_if_needed()
    rows = []
    for _ in range(3):
        unwatched = json.loads(notebook.execute(UNWATCHED))
        page.locator(".lab-play").click()
        time.sleep(1)
        read = "() => { const seen = document.querySelector('.lab').dataset; "
        read += "return [performance.now(), +seen.painted, +seen.step] }"
        t0, painted0, step0 = page.evaluate(read)
        time.sleep(4)
        t1, painted1, step1 = page.evaluate(read)
        # the click's own time: from the browser's click event to the kernel's state having come back
        pause = page.evaluate(
            """() => new Promise(resolve => { const lab = document.querySelector('.lab'), began = performance.now();
                 new MutationObserver(() => lab.dataset.playing === 'false' && resolve(performance.now() - began))
                   .observe(lab, {attributes: true}); lab.querySelector('.lab-play').click(); })"""
        )
        seconds = (t1 - t0) / 1000
        rows.append(
            (
                (painted1 - painted0) / seconds,
                (step1 - step0) / seconds / unwatched["rate"],
                pause,
                unwatched["rate"],
            )
        )
    fps, share, pause, rate = (statistics.median(column) for column in zip(*rows, strict=True))
    print(
        f"\n{name}: first picture {unwatched['first']:.2f} s, {fps:.1f} frames/s shown, "
        f"{100 * share:.0f} % of the unwatched "
        f"{rate:.0f} rounds/s, pause {pause:.0f} ms (slowest {max(r[2] for r in rows):.0f})"
    )
