"""Fixtures for the browser tests: one private JupyterLab and one headless Chromium per session."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
CHROMIUM_ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

VIEWPORT = {"width": 1400, "height": 1000}
# What is run before that is silently lost.
READY = """name => {
  const panel = window.jupyterapp?.shell?.currentWidget, session = panel?.sessionContext;
  if (panel?.context?.path !== name) return false;
  const kernel = session?.session?.kernel;
  return !!(panel?.content?.model && session.isReady && kernel?.connectionStatus === 'connected'
            && kernel?.status === 'idle');
}"""


class Notebook:
    """A notebook open in JupyterLab in a real browser."""

    def __init__(self, context, server: dict, name: str):
        self.context, self.server, self.name = context, server, name
        self.errors: list[str] = []  # uncaught JavaScript errors
        self.external: list[str] = []  # requests that left the machine
        self.page = None

    def open(self):
        """In a new tab of the browser."""
        self.listen(self.context.new_page())
        # a workspace of its own: no tabs left over from another test
        workspace = f"{Path(self.name).stem}-{time.time_ns()}"
        place = f"{self.server['url']}/lab/workspaces/{workspace}/tree/{self.name}"
        self.page.goto(f"{place}?token={self.server['token']}")
        self.page.wait_for_function(READY, arg=self.name, timeout=90_000, polling=100)
        return self

    def open_beside(self, page):
        """In a tab where JupyterLab runs already."""
        self.listen(page)
        page.evaluate(
            "path => { window.jupyterapp.commands.execute('docmanager:open', {path}); return null }",
            self.name,
        )
        page.wait_for_function(READY, arg=self.name, timeout=90_000, polling=100)
        return self

    def listen(self, page):
        self.page = page
        page.on("pageerror", self._note_error)
        page.on("request", self._note_request)

    def _note_error(self, error):
        self.errors.append(str(error))

    def _note_request(self, request):
        if not request.url.startswith((self.server["url"], "data:", "blob:")):
            self.external.append(request.url)

    def run_all(self, timeout: float = 240):
        """Run every cell; fail with the notebook's own error if one fails."""
        # the promise is not awaited: page.evaluate has no time limit
        self.page.evaluate(
            """() => { window.ran = null;
                 window.jupyterapp.commands.execute('notebook:run-all-cells')
                   .then(done => { window.ran = !!done }, error => { window.ran = String(error) });
                 return null }"""
        )
        self.page.wait_for_function("() => window.ran !== null", timeout=timeout * 1000, polling=100)
        assert self.page.evaluate("window.ran") is True, self.error_text()
        return self

    def error_text(self) -> str:
        """Error outputs, read from the model: cells off the screen may be missing from the page."""
        outputs = self.page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
                 .flatMap(cell => cell.outputs ? cell.outputs.toJSON() : [])"""
        )
        return "\n".join(f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error")

    def execute(self, code: str) -> str:
        """Run code in the notebook's kernel, outside any cell, and return what it printed."""
        return self.page.evaluate(
            """async code => { let printed = '';
                 const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                 const future = kernel.requestExecute({code});
                 future.onIOPub = message => { printed += message.content.text ?? ''; };
                 await future.done; return printed }""",
            code,
        )

    def close(self):
        """The notebook and its kernel; the tab stays."""
        self.page.evaluate(
            """async () => { const panel = window.jupyterapp.shell.currentWidget;
                 await panel.sessionContext.shutdown(); panel.dispose() }"""
        )
        self.page.remove_listener("pageerror", self._note_error)
        self.page.remove_listener("request", self._note_request)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on loopback, with configuration of its own, serving an empty folder."""
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "notebooks"
    folder.mkdir()
    news = home / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, url = secrets.token_hex(16), f"http://127.0.0.1:{port}"
    private = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython", "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }  # fmt: skip
    with open(home / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1",
             f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
             f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True"],
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {name: str(home / part) for name, part in private.items()},
        )  # fmt: skip
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs
    try:
        for _ in range(900):
            try:
                urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=2).read()
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()[-3000:]
                time.sleep(0.1)
        else:
            raise RuntimeError("JupyterLab did not start within 90 s: " + (home / "log").read_text()[-3000:])
        yield {"url": url, "token": token, "folder": folder}
    finally:
        signal.signal(signal.SIGTERM, previous)
        with contextlib.suppress(OSError):
            stop = urllib.request.Request(f"{url}/api/shutdown?token={token}", method="POST")
            urllib.request.urlopen(stop, timeout=5)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(
    scope="module"
)  # while it lives an event loop runs in this thread, which other tests must not see
def browser_context(tmp_path_factory):
    if CHROMIUM is None:
        reason = "no Chromium found: install it, or name the program in the environment variable CHROMIUM"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")), executable_path=CHROMIUM, headless=True, args=CHROMIUM_ARGS,
            viewport=VIEWPORT,
        )  # fmt: skip
        yield context
        context.close()


@pytest.fixture
def open_notebook(browser_context, server):
    """open_notebook(path) opens a copy of that file; open_notebook([code, ...]) a notebook of those cells. In the tab
    of the last test, where JupyterLab is loaded already, or with `own_tab` in one that is closed afterwards."""
    import nbformat

    opened = []

    def open_(source, own_tab: bool = False) -> Notebook:
        name = f"{time.time_ns()}.ipynb"
        if isinstance(source, Path):
            (server["folder"] / name).write_text(source.read_text())
        else:
            book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in source])
            book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
            nbformat.write(book, server["folder"] / name)
        notebook = Notebook(browser_context, server, name)
        opened.append((notebook, own_tab))
        if own_tab:
            return notebook.open()
        if tab := server.get("tab"):
            tab.set_viewport_size(VIEWPORT)
            return notebook.open_beside(tab)
        notebook.open()
        server["tab"] = notebook.page
        return notebook

    yield open_
    for notebook, own_tab in opened:
        notebook.close()
        if own_tab:
            notebook.page.close()
