"""Fetches the files of a dataset, when asked to and never otherwise (`--download`).

Each file is checked against the digest its publisher states, and is whole or absent. Digests: the
CIFAR page for CIFAR, torchvision's sources for MNIST and Fashion-MNIST. MD5 is what these publish;
it tells a damaged file, not a forged one.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import tarfile
import urllib.request
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gan_registry.datasets.idx import find_idx
from gan_registry.datasets.image_folder import find_images
from gan_registry.datasets.mnist import idx_folders
from gan_registry.errors import UserError
from gan_registry.files import atomic_write

_TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 2**20


@dataclass(frozen=True)
class Download:
    """A file to fetch and what it holds.

    Attributes:
        urls: Where to get it; the first that works.
        md5: Its digest.
        folder: Where what it holds goes, below the data's folder.
        members: Names of the files it holds. One for a packed file (.gz), several for a .tar.gz.
    """

    urls: tuple[str, ...]
    md5: str
    folder: str
    members: tuple[str, ...]


def _idx(mirrors: tuple[str, ...], folder: str, digests: dict[str, str]) -> tuple[Download, ...]:
    return tuple(
        Download(tuple(f"{mirror}{stem}.gz" for mirror in mirrors), md5, folder, (stem,))
        for stem, md5 in digests.items()
    )


_MNIST = _idx(
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "MNIST/raw",
    {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
_FASHION = _idx(
    ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    "FashionMNIST/raw",
    {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
DOWNLOADS: dict[str, tuple[Download, ...]] = {
    "MNIST": _MNIST,
    "colored_mnist": _MNIST,
    "FashionMNIST": _FASHION,
    "mnist_fmnist": _MNIST + _FASHION,
    "CIFAR10": (
        Download(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-batches-bin",
            (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
        ),
    ),
    "CIFAR100": (
        Download(
            ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
            "03b5dce01913d631647c71ecec9e9cb8",
            "cifar-100-binary",
            ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
        ),
    ),
}

_CIFAR = ("CIFAR10", "CIFAR100")  # read from a folder of images, or the unpacked one, as well
# Read packed and from several folders as well.
_IDX = ("MNIST", "FashionMNIST", "mnist_fmnist", "colored_mnist")


def download(name: str, data_dir: Path | None) -> None:
    """Fetches what is missing of a dataset; does nothing if all is there, in whatever form.

    The data's folder is made if it is missing.

    Raises:
        UserError: This dataset cannot be fetched, no folder is given, there is no network, or what
            came is damaged. What was there before stays.
    """
    if name not in DOWNLOADS:
        raise UserError(
            f"The dataset {name!r} cannot be downloaded by --download (only "
            f"{', '.join(sorted(DOWNLOADS))}); get it by hand and name its folder with --data."
        )
    if data_dir is None:
        raise UserError("--download needs a folder to write to: set DATA.path (or --data).")
    if name in _CIFAR and data_dir.is_dir() and find_images(data_dir):
        return
    for item in DOWNLOADS[name]:
        folder = data_dir / item.folder
        if not _is_there(name, data_dir, item):
            _unpack(item, _fetch(item, folder), folder)


def _is_there(name: str, root: Path, item: Download) -> bool:
    """Whether the dataset finds what a file holds, wherever it looks for it."""
    if name in _IDX:
        folders = idx_folders(name, root, PurePosixPath(item.folder).parts[0])
        return all(find_idx(folders, member) is not None for member in item.members)
    folders = [root / item.folder, *([root] if name in _CIFAR else [])]
    return any(all((f / member).is_file() for member in item.members) for f in folders)


def _fetch(item: Download, folder: Path) -> bytes:
    """Returns the content of the first address that gives the right file."""
    problems = []
    for url in item.urls:
        try:
            content = _read(url)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            problems.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest == item.md5:
            return content
        problems.append(f"{url}: its MD5 is {digest}, not {item.md5}")
    raise UserError(
        f"Cannot download {'; '.join(problems)}. Without a network, unpack "
        f"{PurePosixPath(item.urls[0]).name} from elsewhere so that {folder / item.members[0]} "
        "exists."
    )


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        buffer = io.BytesIO()
        # disable=None: no bar where nobody watches.
        with tqdm(
            total=total, unit="B", unit_scale=True, desc=PurePosixPath(url).name, disable=None
        ) as bar:
            while chunk := response.read(_CHUNK):
                buffer.write(chunk)
                bar.update(len(chunk))
    if total is not None and buffer.tell() != total:
        raise OSError(f"the connection broke off after {buffer.tell()} of {total} bytes.")
    return buffer.getvalue()


def _unpack(item: Download, content: bytes, folder: Path) -> None:
    """Writes the wanted members and nothing else, whatever paths an archive names."""
    try:
        if item.urls[0].endswith((".tar.gz", ".tgz")):
            files = dict(_members(content, item.members))
        else:
            files = {item.members[0]: gzip.decompress(content)}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{item.urls[0]} cannot be unpacked: {error}.") from error
    missing = [member for member in item.members if member not in files]
    if missing:
        raise UserError(f"{item.urls[0]} lacks {', '.join(missing)}.")
    for member, data in files.items():
        with atomic_write(folder / member) as temporary:
            temporary.write_bytes(data)


def _members(content: bytes, wanted: Iterable[str]) -> Iterable[tuple[str, bytes]]:
    names = set(wanted)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for entry in archive:
            name = PurePosixPath(entry.name).name
            if entry.isfile() and name in names:
                file = archive.extractfile(entry)
                if file is not None:
                    yield name, file.read()
