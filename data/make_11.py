"""Play the table of notebook 11 anew: every trick on both patients, eight seeds, 1,000 rounds each.

    python data/make_11.py

The tricks are written out in the notebook, and its function `have` plays each row that `data/stabilisers.npz` lacks. So
this puts the file aside and executes the notebook, which saves both. If that fails, the old file comes back.
"""

import subprocess
import sys
from pathlib import Path

from make_data import sign

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TABLE, ASIDE = HERE / "stabilisers.npz", HERE / "stabilisers.npz.old"

if __name__ == "__main__":
    TABLE.rename(ASIDE)
    done = False
    try:
        execute = [sys.executable, ROOT / "tools" / "execute.py", ROOT / "notebooks" / "11_stabilisers.ipynb"]
        done = subprocess.run(execute, check=False).returncode == 0 and TABLE.exists()
    finally:
        ASIDE.unlink() if done else ASIDE.replace(TABLE)
    if done:
        sign(TABLE.name)
    sys.exit(not done)
