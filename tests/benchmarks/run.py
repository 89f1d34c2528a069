"""Run every benchmark, one after the other, and write what they print to RESULTS.md: python tests/benchmarks/run.py

Takes about a quarter of an hour, and means something on a quiet machine only. Numbers are ratios within one run where
they can be. Each part is written when it is done; one that fails says so, and the others are kept.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
HEAD = """# Benchmarks

Made by `python tests/benchmarks/run.py` on {date}: {cores} cores ({chip}), Python {python}, PyTorch {torch}.
{gpu}
"""


def chip() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or "processor unknown"


def timed(command: list[str]) -> float:
    """Wall seconds. Raises CalledProcessError if the command fails."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - start


def imports() -> str:
    """Seconds to import a module, less the start of Python; the least of three."""
    empty = min(timed([sys.executable, "-c", "pass"]) for _ in range(3))
    rows = ["| import | s |", "|---|---|"]
    for module in ("ganlib", "torch", "ganlib.training", "ganlib.lab"):
        seconds = min(timed([sys.executable, "-c", f"import {module}"]) for _ in range(3)) - empty
        rows.append(f"| `{module}` | {max(seconds, 0):.2f} |")
    return "\n".join(rows)


def notebooks() -> str:
    """Wall time of each notebook as the tests run it, kernel start and imports included."""
    rows = ["| notebook, as the tests run it | s |", "|---|---|"]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            seconds = f"{timed([sys.executable, '-m', 'pytest', '-q', '-n', '0', str(path)]):.0f}"
        except subprocess.CalledProcessError:
            seconds = "failed"
        rows.append(f"| {path.stem} | {seconds} |")
    return "\n".join(rows)


def benchmark(path: Path) -> str:
    """What one benchmark prints."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-s", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [
        line for line in done.stdout.splitlines() if line.strip(" .") and not re.match(r"\d+ passed", line)
    ]
    note = "" if done.returncode == 0 else f"\n(It failed, with status {done.returncode}.)\n"
    return f"```\n{chr(10).join(lines)}\n```\n{note}"


def measure(head: str, parts: dict[str, Callable[[], str]], result: Path) -> int:
    """Write to `result` the head and what each part says under its title, part by part. The number that failed."""
    text, failed = head, 0
    for title, part in parts.items():
        try:
            said = part()
        except Exception as error:  # the other parts are worth their minutes
            said, failed = f"(It failed: {type(error).__name__}.)", failed + 1
            print(f"{title}: {error}", file=sys.stderr)
        text = f"{text.rstrip()}\n\n{title}\n\n{said.strip()}\n"
        result.write_text(text, encoding="utf-8")
    return failed


if __name__ == "__main__":
    import torch

    gpu = f"GPU: {torch.cuda.get_device_name()}." if torch.cuda.is_available() else "No GPU has run it."
    facts = {"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "chip": chip(), "gpu": gpu,
             "python": platform.python_version(), "torch": torch.__version__.split("+")[0]}  # fmt: skip
    parts: dict[str, Callable[[], str]] = {"## Imports": imports}
    for path in sorted(HERE.glob("bench_*.py")):
        title = path.read_text(encoding="utf-8").split('"""')[1].split("\n")[0].rstrip(".")
        parts[f"## {path.stem}: {title}"] = partial(benchmark, path)
    parts["## Notebooks"] = notebooks
    sys.exit(1 if measure(HEAD.format(**facts), parts, HERE / "RESULTS.md") else 0)
