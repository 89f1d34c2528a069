"""Play the table of notebook 11 anew: every trick on both patients, eight seeds, 1,000 rounds each.

    python data/make_11.py

The tricks are written out in the notebook, and its function `have` plays each row that `data/stabilisers.npz` lacks. So
this removes the file and executes the notebook, which takes about five minutes of one core and saves both. Afterwards
the file's new checksum is to be put into data/SHA256SUMS.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    (ROOT / "data" / "stabilisers.npz").unlink(missing_ok=True)
    execute = [sys.executable, ROOT / "tools" / "execute.py", ROOT / "notebooks" / "11_stabilisers.ipynb"]
    sys.exit(subprocess.run(execute, check=False).returncode)
