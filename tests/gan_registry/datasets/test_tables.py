from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalog_datasets import DATA, make
from PIL import Image

from gan_registry.datasets import BUILTIN, download
from gan_registry.datasets.celeba_tables import read_attributes, read_partition
from gan_registry.datasets.download import Download
from gan_registry.datasets.idx import read_idx
from gan_registry.datasets.mnist import resize
from gan_registry.errors import UserError

needs_mnist = pytest.mark.skipif(
    not (DATA / "mnist" / "MNIST" / "raw" / "t10k-images-idx3-ubyte").is_file(),
    reason=f"no MNIST test digits in {DATA / 'mnist'}; set DIAGAN_TEST_DATA",
)


# --- CelebA --------------------------------------------------------------------------------------

NAMES = [f"Attribute_{i}" for i in range(39)] + ["Bald"]
COUNT = 10


def values() -> np.ndarray:
    return np.random.default_rng(3).random((COUNT, 40)) < 0.4


def attribute_lines() -> list[str]:
    rows = [
        f"{i + 1:06d}.jpg {' '.join(f'{1 if v else -1:2d}' for v in row)}"
        for i, row in enumerate(values())
    ]
    return [str(COUNT), " ".join(NAMES) + " ", *rows]


def write_celeba(root: Path, csv: bool = False, inner: str = "img_align_celeba") -> Path:
    lines = attribute_lines()
    partition = [f"{i + 1:06d}.jpg {0 if i < 6 else 1 if i < 9 else 2}" for i in range(COUNT)]
    if csv:
        lines = [",".join(["image_id", *NAMES]), *(",".join(line.split()) for line in lines[2:])]
        partition = ["image_id,partition", *(line.replace(" ", ",") for line in partition)]
    suffix = "csv" if csv else "txt"
    folder = root / inner
    folder.mkdir(parents=True)
    (root / f"list_attr_celeba.{suffix}").write_text("\n".join(lines) + "\n")
    (root / f"list_eval_partition.{suffix}").write_text("\n".join(partition) + "\n")
    for i in range(COUNT):
        pixels = np.full((22, 18, 3), 20 * i, np.uint8)
        pixels[:2] = pixels[-2:] = 255  # outside the centred square
        Image.fromarray(pixels).save(folder / f"{i + 1:06d}.jpg", quality=100, subsampling=0)
    return root


@pytest.mark.parametrize(
    ("csv", "below", "inner"),
    [
        (False, "", "img_align_celeba"),
        (False, "celeba", "img_align_celeba"),
        (True, "", "img_align_celeba/img_align_celeba"),
    ],
)
def test_celeba_in_every_layout(tmp_path, csv, below, inner):
    write_celeba(tmp_path / below, csv, inner)
    dataset = make("CelebA", tmp_path, split="all")
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (COUNT, (3, 8, 8), 1)
    assert dataset.groups is None
    assert dataset.attribute_names == tuple(NAMES)
    assert dataset.attributes.dtype == np.bool_
    assert (dataset.attributes == values()).all()
    x, y = dataset.__getitems__(range(COUNT))
    np.testing.assert_allclose((x.mean((1, 2, 3)) + 1) * 127.5, 20 * np.arange(COUNT), atol=2)
    assert not y.any()
    for split, rows in (("train", slice(0, 6)), ("valid", slice(6, 9)), ("test", slice(9, 10))):
        part = make("CelebA", tmp_path, split=split)
        assert (part.attributes == values()[rows]).all()
        assert part.names[0] == f"{rows.start + 1:06d}.jpg"
    assert len(make("CelebA", tmp_path)) == 6


def test_an_attribute_makes_the_groups(tmp_path):
    write_celeba(tmp_path)
    dataset = make("CelebA", tmp_path, attribute="Bald", split="all")
    assert dataset.group_names == ("not Bald", "Bald")
    assert (dataset.groups == values()[:, 39]).all()
    assert (dataset.num_classes, dataset.labels.any()) == (1, False)
    labelled = make("CelebA", tmp_path, attribute="Attribute_0", labels="attribute")
    assert labelled.num_classes == 2
    assert (labelled.labels == values()[:6, 0]).all()
    assert len({dataset.fingerprint(), labelled.fingerprint()}) == 2
    with pytest.raises(UserError, match=r"Unknown attribute 'Bold' .* mean 'Bald'\? Known: "):
        make("CelebA", tmp_path, attribute="Bold")
    with pytest.raises(UserError, match=r"needs DATA\.options\.attribute"):
        make("CelebA", tmp_path, labels="attribute")


def test_each_split_has_a_file_of_decoded_images(tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_REGISTRY_CACHE")
    write_celeba(tmp_path)
    for number, split in enumerate(("train", "valid", "test", "all"), 1):
        dataset = make("CelebA", tmp_path, cache="disk", split=split)
        plain = dataset.__getitems__(range(len(dataset)))[0]
        dataset.prepare(0)
        assert len(list(tmp_path.glob(".gan_registry-*.safetensors"))) == number
        assert torch.equal(dataset.__getitems__(range(len(dataset)))[0], plain)


def test_attributes_follow_images_that_are_left_out(tmp_path):
    write_celeba(tmp_path)
    (tmp_path / "img_align_celeba" / "000003.jpg").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"Left out 1 of 10 .*000003\.jpg"):
        dataset = make("CelebA", tmp_path, split="all", attribute="Bald", skip_corrupt=True)
    kept = np.delete(np.arange(COUNT), 2)
    assert (dataset.attributes == values()[kept]).all()
    assert (dataset.groups == values()[kept, 39]).all()


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (4, "000003.jpg 1 -1", r"txt, line 5: expected .* 40 times 1 or -1, but got '000003"),
        (2, "000001.jpg" + " 2" * 40, r"txt, line 3: .*but got '000001\.jpg 2 2"),
        (3, "", r"txt, line 4: .*but got ''"),
        (0, "11", "line 1 announces 11 images, but it has 10"),
        (0, "ten", "is no list of attributes"),
    ],
)
def test_a_damaged_line_of_attributes_is_named(tmp_path, line, replacement, message):
    lines = attribute_lines()
    lines[line] = replacement
    path = tmp_path / "list_attr_celeba.txt"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message):
        read_attributes(path)


def test_damaged_lists_and_missing_files(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"list\.txt is damaged"):
        read_attributes(path)
    path.write_text("1\n")
    with pytest.raises(UserError, match="has only 1 lines"):
        read_attributes(path)
    path.write_text("a.jpg 0\nb.jpg 3\n")
    with pytest.raises(UserError, match=r"list\.txt, line 2: .*0, 1 or 2, but got 'b\.jpg 3'"):
        read_partition(path, ["a.jpg"])
    path.write_text("a.jpg 0\n")
    with pytest.raises(UserError, match=r"to which split c\.jpg belongs"):
        read_partition(path, ["a.jpg", "c.jpg"])
    with pytest.raises(UserError, match=r"misses .*list_attr_celeba\.txt\. Get img_align_celeba"):
        make("CelebA", tmp_path)
    write_celeba(tmp_path)
    (tmp_path / "img_align_celeba" / "000002.jpg").unlink()
    with pytest.raises(UserError, match=r"misses 1 images in .*first 000002\.jpg"):
        make("CelebA", tmp_path)
    (tmp_path / "list_eval_partition.txt").unlink()
    with pytest.raises(UserError, match=r"misses .*list_eval_partition\.txt"):
        make("CelebA", tmp_path)
    with pytest.raises(UserError, match=r"needs a folder"):
        make("CelebA", None)


# --- MNIST and Fashion-MNIST ---------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes the format from its specification; packed if the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_images(
    root: Path, name: str, count: int = 40, suffix: str = "", prefix: str = "train"
) -> np.ndarray:
    grey = np.random.default_rng(len(name)).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    raw = root / name / "raw"
    write_idx(raw / f"{prefix}-images-idx3-ubyte{suffix}", grey)
    write_idx(raw / f"{prefix}-labels-idx1-ubyte{suffix}", np.arange(count) % 10)
    return grey


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_mnist_files_packed_or_not_and_in_any_folder(tmp_path, name, suffix):
    grey = write_images(tmp_path, name, suffix=suffix)
    for folder in (tmp_path, tmp_path / name, tmp_path / name / "raw"):
        dataset = make(name, folder, 28)
        assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (40, (1, 28, 28), 10)
        x, y = dataset.__getitems__(range(40))
        np.testing.assert_allclose((x[:, 0] + 1) * 127.5, grey, atol=1e-3)
        assert y.tolist() == dataset.groups.tolist() == [i % 10 for i in range(40)]
    assert len(set(dataset.group_names)) == 10
    assert make(name, tmp_path, 32, groups="none").groups is None
    with pytest.raises(UserError, match=r"misses the file .*t10k-images-idx3-ubyte.*--download"):
        make(name, tmp_path, 28, split="test")
    with pytest.raises(UserError, match="comes in 16, 28, 32 px"):
        make(name, tmp_path, 64)
    with pytest.raises(UserError, match=rf"holds {name}/raw.*--download"):
        make(name, None, 28)


@needs_mnist
def test_the_real_digits_agree_with_torchvision():
    reader = pytest.importorskip("torchvision.datasets.mnist")
    raw = DATA / "mnist" / "MNIST" / "raw"
    images = read_idx(raw / "t10k-images-idx3-ubyte")
    assert (images == reader.read_image_file(str(raw / "t10k-images-idx3-ubyte")).numpy()).all()
    dataset = make("MNIST", DATA / "mnist", 28, split="test")
    assert np.bincount(dataset.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.parametrize("damage", ["truncated", "longer", "empty", "type", "gzip", "dimensions"])
def test_damaged_idx_files(tmp_path, damage):
    path = tmp_path / ("x.gz" if damage == "gzip" else "x")
    write_idx(path, np.zeros((3, 4), np.uint8))
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[:-1], "longer": content + b"\0", "empty": b"",
            "type": b"\0\0\x0d" + content[3:], "gzip": content[:-5],
            "dimensions": content[:3] + b"\xff" + content[4:],
        }[damage]
    )  # fmt: skip
    with pytest.raises(UserError, match=r"x.*get it anew"):
        read_idx(path)


def test_idx_files_that_do_not_belong_together(tmp_path):
    write_images(tmp_path, "MNIST")
    labels = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    for wrong in (np.zeros(39), np.full(40, 10)):
        write_idx(labels, wrong)
        with pytest.raises(UserError, match="do not belong together"):
            make("MNIST", tmp_path, 28)
    write_idx(labels, np.arange(40) % 10)
    write_idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", np.zeros((40, 20, 20)))
    with pytest.raises(UserError, match="do not belong together"):
        make("MNIST", tmp_path, 28)


def test_resizing_mnist_pads_then_halves():
    grey = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    assert (resize(grey, 28) == grey).all()
    padded = resize(grey, 32)
    assert padded.shape == (5, 32, 32)
    assert (padded[:, 2:30, 2:30] == grey).all()
    assert padded.sum() == grey.sum()
    small = resize(grey, 16)
    expected = torch.nn.functional.avg_pool2d(torch.from_numpy(padded).double()[:, None], 2)
    assert np.abs(small - expected[:, 0].numpy()).max() <= 0.5


def test_colored_mnist_reads_one_split_from_a_folder(tmp_path):
    grey = write_images(tmp_path, "MNIST", suffix=".gz")
    dataset = make("colored_mnist", tmp_path, 28, ratio=0.9)
    x, y = dataset.__getitems__(range(40))
    assert x.shape == (40, 3, 28, 28)
    assert y.tolist() == [i % 10 for i in range(40)]
    assert dataset.groups.sum() == 4
    served = (x[np.arange(40), dataset.groups].numpy() + 1) * 127.5
    np.testing.assert_allclose(served, grey, atol=1e-3)
    with pytest.raises(UserError, match=r"split 'test'.*t10k-images-idx3-ubyte.*--download"):
        make("colored_mnist", tmp_path, 28, split="test")
    with pytest.raises(UserError, match=r"holds MNIST/raw.*--download"):
        make("colored_mnist", None, 28)
    with pytest.raises(UserError, match=r"must be 'train', 'test' or 'auto', but got 'valid'"):
        make("colored_mnist", tmp_path, 28, split="valid")
    with pytest.raises(UserError, match=r"'colored_mnist' comes in 16, 28, 32 px; .* not 64"):
        make("colored_mnist", tmp_path, 64)


def test_colored_mnist_of_the_training_split_where_it_is_there(tmp_path, caplog):
    def labels(**options):
        dataset = make("colored_mnist", tmp_path, 28, split="auto", **options)
        return dataset.__getitems__(range(len(dataset)))[1].tolist()

    write_images(tmp_path, "MNIST", 12, prefix="t10k")
    assert labels() == [i % 10 for i in range(12)]
    assert "holds the test split of MNIST alone" in caplog.text
    caplog.clear()
    write_images(tmp_path, "MNIST", 30)
    assert labels() == [i % 10 for i in range(30)]
    assert labels(first=7) == list(range(7))
    assert labels(first=25, digits=[0, 3]) == [0, 3, 0, 3, 0, 3]
    assert not caplog.text
    with pytest.raises(UserError, match=r"has 30 digits in the split 'train', .* asks for 31"):
        labels(first=31)
    with pytest.raises(UserError, match=r"split 'train'.*train-images-idx3-ubyte.*--download"):
        make("colored_mnist", tmp_path / "none", 28, split="auto")


@needs_mnist
@pytest.mark.parametrize("size", [16, 28, 32])
def test_real_mnist_digits_keep_their_color_at_every_size(size):
    dataset = make("colored_mnist", DATA / "mnist", size, split="test")
    groups = dataset.groups
    assert np.bincount(groups).tolist() == [9500, 500]
    x, y = dataset.__getitems__(range(len(dataset)))
    assert x.shape == (10_000, 3, size, size)
    assert np.bincount(y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (dataset.classify(x) == groups).all()


@pytest.mark.parametrize(
    ("ratio", "minors"), [(0.99, 2), (0.95, 10), (0.9, 20), (1.0, 0), (0, 200)]
)
def test_the_mixture_has_exactly_its_shares(tmp_path, ratio, minors):
    digits = write_images(tmp_path, "MNIST", 200)
    clothing = write_images(tmp_path, "FashionMNIST", 210)
    dataset = make("mnist_fmnist", tmp_path, 28, ratio=ratio, num_samples=200)
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (200, (1, 28, 28), 20)
    assert dataset.group_names == ("MNIST", "Fashion-MNIST")
    minor = dataset.groups == 1
    assert minor.sum() == minors
    x, y = dataset.__getitems__(range(200))
    expected = np.where(minor[:, None, None], clothing[:200], digits)
    np.testing.assert_allclose((x[:, 0] + 1) * 127.5, expected, atol=1e-3)
    assert y.tolist() == (np.arange(200) % 10 + 10 * minor).tolist()


def test_the_mixtures_choice_is_nested_and_follows_from_the_seed(tmp_path):
    for name in ("MNIST", "FashionMNIST"):
        write_images(tmp_path, name, 100)

    def minors(**options: Any) -> set[int]:
        dataset = make("mnist_fmnist", tmp_path, 16, num_samples=100, **options)
        return set(np.flatnonzero(dataset.groups).tolist())

    assert minors(ratio=0.95) < minors(ratio=0.9)
    assert minors(ratio=0.9) == minors(ratio=0.9) != minors(ratio=0.9, seed=1)
    with pytest.raises(UserError, match=r"num_samples = 10000, but .* has 100 images of a kind"):
        make("mnist_fmnist", tmp_path, 28)
    with pytest.raises(UserError, match=r"ratio .* must be a number in \[0, 1\]"):
        make("mnist_fmnist", tmp_path, 28, ratio=1.5)
    (tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").unlink()
    with pytest.raises(UserError, match=r"'mnist_fmnist'.*misses .*FashionMNIST/raw/train-images"):
        make("mnist_fmnist", tmp_path, 28)


# --- downloads -----------------------------------------------------------------------------------


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("inner/test.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


def offer(monkeypatch: pytest.MonkeyPatch, *items: Download) -> None:
    monkeypatch.setattr(download, "DOWNLOADS", {"MNIST": items})


def test_a_packed_file_is_fetched_checked_and_unpacked(tmp_path, monkeypatch):
    packed = gzip.compress(b"digits")
    (tmp_path / "x.gz").write_bytes(packed)
    url = (tmp_path / "x.gz").as_uri()
    offer(monkeypatch, Download(("file:///none/x.gz", url), md5(packed), "MNIST/raw", ("x",)))
    target = tmp_path / "data"
    download.download("MNIST", target)
    assert (target / "MNIST" / "raw" / "x").read_bytes() == b"digits"
    (tmp_path / "x.gz").unlink()
    download.download("MNIST", target)  # all is there: nothing is fetched
    assert [p.name for p in (target / "MNIST" / "raw").iterdir()] == ["x"]


def test_of_an_archive_only_the_wanted_files_are_written(tmp_path, monkeypatch):
    content = archive({"inner/train.bin": b"1", "../../escape": b"2", "/test.bin": b"3"})
    (tmp_path / "a.tar.gz").write_bytes(content)
    url = (tmp_path / "a.tar.gz").as_uri()
    offer(monkeypatch, Download((url,), md5(content), "c", ("train.bin", "test.bin")))
    download.download("MNIST", tmp_path / "data")
    assert {p.name: p.read_bytes() for p in (tmp_path / "data" / "c").iterdir()} == {
        "train.bin": b"1",
        "test.bin": b"3",
    }
    assert not (tmp_path / "escape").exists()
    offer(monkeypatch, Download((url,), md5(content), "d", ("train.bin", "names.txt")))
    with pytest.raises(UserError, match=r"lacks names\.txt"):
        download.download("MNIST", tmp_path / "data")
    assert not (tmp_path / "data" / "d").exists()


def test_damage_and_no_network_leave_nothing_behind(tmp_path, monkeypatch):
    (tmp_path / "x.gz").write_bytes(b"something else")
    url = (tmp_path / "x.gz").as_uri()
    offer(monkeypatch, Download((url,), md5(b"the real one"), "raw", ("x",)))
    with pytest.raises(UserError, match=r"its MD5 is [0-9a-f]{32}, not .*unpack x\.gz .*raw/x"):
        download.download("MNIST", tmp_path / "data")
    offer(monkeypatch, Download(("http://127.0.0.1:9/x.gz",), "", "raw", ("x",)))
    with pytest.raises(UserError, match=r"Cannot download http://127\.0\.0\.1:9/x\.gz: .*Without"):
        download.download("MNIST", tmp_path / "data")
    broken = b"no gzip"
    (tmp_path / "x.gz").write_bytes(broken)
    offer(monkeypatch, Download((url,), md5(broken), "raw", ("x",)))
    with pytest.raises(UserError, match="cannot be unpacked"):
        download.download("MNIST", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_cannot_be_downloaded(tmp_path):
    with pytest.raises(UserError, match=r"'CelebA' cannot be downloaded .*CIFAR10, CIFAR100"):
        download.download("CelebA", tmp_path)
    with pytest.raises(UserError, match=r"needs a folder to write to"):
        download.download("CIFAR10", None)


def test_images_that_are_there_are_not_fetched_in_another_form(tmp_path, monkeypatch):
    def never(url):
        raise AssertionError(url)

    monkeypatch.setattr(download, "_read", never)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "train" / "cat" / "1.jpg").touch()
    download.download("CIFAR10", tmp_path)
    with pytest.raises(AssertionError, match="train-images"):
        download.download("MNIST", tmp_path)  # which is not read from images


@pytest.mark.parametrize(
    ("name", "folder", "suffix"),
    [
        ("MNIST", "MNIST/raw", ".gz"),
        ("FashionMNIST", ".", ""),
        ("mnist_fmnist", "{}", ".gz"),
        ("CIFAR10", ".", ""),
        ("colored_mnist", "MNIST/raw", ".gz"),
    ],
)
def test_what_a_dataset_finds_is_not_fetched(tmp_path, monkeypatch, name, folder, suffix):
    monkeypatch.setattr(download, "_read", lambda url: pytest.fail(f"fetched {url}"))
    for item in download.DOWNLOADS[name]:
        place = tmp_path / folder.format(item.folder.partition("/")[0])
        place.mkdir(parents=True, exist_ok=True)
        for member in item.members:
            (place / f"{member}{suffix}").touch()
    download.download(name, tmp_path)


def test_every_download_is_whole_and_known():
    for name, items in download.DOWNLOADS.items():
        assert name in BUILTIN
        for item in items:
            assert len(item.md5) == 32
            assert set(item.md5) <= set("0123456789abcdef")
    mnist = pytest.importorskip("torchvision.datasets.mnist")
    for ours, theirs in (("MNIST", mnist.MNIST), ("FashionMNIST", mnist.FashionMNIST)):
        found = [(item.urls[0].rsplit("/", 1)[1], item.md5) for item in download.DOWNLOADS[ours]]
        assert found == theirs.resources
