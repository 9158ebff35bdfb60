from __future__ import annotations

import io
import os
import pickle
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from catalog_datasets import DATA, make
from PIL import Image
from torch.utils.data import DataLoader

from gan_registry.datasets import lazy_images
from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.decoding import (
    ImageFormat,
    UnreadableImageError,
    decode,
    resize_images,
)
from gan_registry.datasets.image_cache import CacheSettings
from gan_registry.datasets.image_folder import Folder, find_images
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.datasets.opening import open_images
from gan_registry.errors import UserError

needs_cifar = pytest.mark.skipif(
    not (DATA / "cifar10" / "train" / "cat").is_dir(),
    reason=f"no CIFAR-10 JPEGs in {DATA / 'cifar10'}; set DIAGAN_TEST_DATA",
)


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(dataset: Dataset) -> np.ndarray:
    x, _ = dataset.__getitems__(np.arange(len(dataset)))
    return ((x.numpy() + 1) * 127.5).round().astype(np.uint8)


def class_folders(root: Path, counts: dict[str, int], side: int = 8) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            save(root / name / f"{i:03d}.png", noise(side, side, 3, seed=100 * number + i))
    return root


# --- decoding ------------------------------------------------------------------------------------

RGB = noise(8, 8, 3)
GREY = noise(8, 8)


def test_a_lossless_image_is_decoded_exactly():
    assert (decode(encoded(Image.fromarray(RGB)), ImageFormat(8)) == RGB.transpose(2, 0, 1)).all()
    grey = decode(encoded(Image.fromarray(GREY)), ImageFormat(8, channels=1))
    assert grey.shape == (1, 8, 8)
    assert (grey[0] == GREY).all()


def test_images_of_every_mode_become_colour():
    grey = decode(encoded(Image.fromarray(GREY)), ImageFormat(8))
    assert (grey == GREY).all()  # the same in three channels
    rgba = np.concatenate([RGB, noise(8, 8, 1, seed=1)], axis=2)
    assert (decode(encoded(Image.fromarray(rgba)), ImageFormat(8)) == RGB.transpose(2, 0, 1)).all()
    la = Image.fromarray(GREY).convert("LA")
    la.putalpha(7)
    assert (decode(encoded(la), ImageFormat(8)) == GREY).all()
    palette = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    assert (decode(encoded(palette), ImageFormat(8)) == expected).all()
    bits = Image.fromarray(GREY > 127)
    assert (decode(encoded(bits), ImageFormat(8)) == (GREY > 127) * 255).all()
    # CMYK: black is no ink of c, m and y and all of k; white is no ink.
    cmyk = Image.frombytes("CMYK", (2, 1), bytes([0, 0, 0, 255, 0, 0, 0, 0]))
    assert decode(encoded(cmyk, "tiff"), ImageFormat(None)).tolist() == [[[0, 255]]] * 3


def test_a_palette_with_transparency_raises_no_warning():
    palette = Image.fromarray(RGB).quantize(4)
    data = encoded(palette, transparency=b"\x00\x80\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, ImageFormat(8)).shape == (3, 8, 8)


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], np.uint16)
    data = encoded(Image.fromarray(values))
    decoded = decode(data, ImageFormat(None, channels=1))[0]
    assert decoded.tolist() == np.rint(values / 257).astype(int).tolist()
    assert (decode(data, ImageFormat(None)) == decoded).all()


def test_floating_point_pixels_are_refused():
    data = encoded(Image.fromarray(np.ones((4, 4), np.float32)), "tiff")
    with pytest.raises(UnreadableImageError, match="floating-point"):
        decode(data, ImageFormat(4))


def test_the_centre_is_cut_out_and_then_resized():
    wide = noise(10, 16, 3)
    middle = wide[:, 3:13].transpose(2, 0, 1)
    assert (decode(encoded(Image.fromarray(wide)), ImageFormat(10)) == middle).all()
    tall = noise(16, 10)
    assert (decode(encoded(Image.fromarray(tall)), ImageFormat(10, 1)) == tall[3:13]).all()
    # Halving by "box" is the mean of 2×2 pixels: an independent formula.
    small = decode(encoded(Image.fromarray(wide)), ImageFormat(5, resize="box"))
    means = middle.reshape(3, 5, 2, 5, 2).mean(axis=(2, 4))
    assert np.abs(small - means).max() <= 1.0  # Pillow rounds after either axis
    cut = decode(encoded(Image.fromarray(wide)), ImageFormat(4, crop=4))
    assert (cut == wide[3:7, 6:10].transpose(2, 0, 1)).all()
    assert decode(encoded(Image.fromarray(wide)), ImageFormat(4, crop=99)).shape == (3, 4, 4)


def test_what_lies_beyond_the_crop_does_not_leak_in():
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, :8] = pixels[:, 16:] = 255
    assert not decode(encoded(Image.fromarray(pixels)), ImageFormat(3)).any()


def test_a_photo_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90°
    data = encoded(Image.fromarray(GREY), exif=exif)
    assert (decode(data, ImageFormat(8, 1))[0] == np.rot90(GREY, -1)).all()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "header"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "bmp"])
def test_damaged_images_are_refused(kind, damage):
    data = encoded(Image.fromarray(noise(64, 64, 3)), kind)
    broken = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "text": b"<html>not found</html>",
        "header": b"\0" * 8 + data[8:],
    }
    with pytest.raises(UnreadableImageError):
        decode(broken[damage], ImageFormat(8))


def test_resizing_in_memory_equals_resizing_files():
    images = np.stack([noise(8, 8, 3, seed=s).transpose(2, 0, 1) for s in range(3)])
    resized = resize_images(images, 5)
    for image, small in zip(images, resized, strict=True):
        data = encoded(Image.fromarray(image.transpose(1, 2, 0)))
        assert (decode(data, ImageFormat(5)) == small).all()
    assert resize_images(images, 8) is images


# --- folders -------------------------------------------------------------------------------------


def test_class_folders_give_labels_and_groups(tmp_path):
    class_folders(tmp_path, {"dog": 3, "cat": 2, "10": 1})
    dataset = make("image_folder", tmp_path)
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (6, (3, 8, 8), 3)
    assert (dataset.kind, dataset.value_range, dataset.can_classify) == (
        "image",
        (-1.0, 1.0),
        False,
    )
    assert dataset.group_names == ("10", "cat", "dog")
    assert dataset.groups.tolist() == [0, 1, 1, 2, 2, 2]
    x, y = dataset.__getitems__([5, 0, 5])
    assert (x.dtype, y.tolist()) == (torch.float32, [2, 0, 2])
    assert torch.equal(x[0], x[2])
    expected = noise(8, 8, 3, seed=2).transpose(2, 0, 1)  # dog/002.png
    np.testing.assert_allclose(x[0].numpy(), expected / 127.5 - 1, atol=1e-6)
    assert make("image_folder", tmp_path, groups="none").groups is None
    flat = make("image_folder", tmp_path, labels="none")
    assert (flat.num_classes, flat.groups, len(flat)) == (1, None, 6)


def test_the_order_is_torchvisions(tmp_path):
    folder = pytest.importorskip("torchvision.datasets").ImageFolder
    for name in ("b/2.png", "b/10.PNG", "a/z.jpg", "B/1.png", "a/A.png", "a/.hidden.png"):
        save(tmp_path / name, RGB)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    dataset = make("image_folder", tmp_path)
    (tmp_path / "a" / ".hidden.png").unlink()
    (tmp_path / ".cache").rmdir()
    reference = folder(str(tmp_path))
    paths = [str(tmp_path / name) for name in dataset.names]
    assert list(zip(paths, dataset.labels.tolist(), strict=True)) == reference.samples


def test_splits_and_flat_folders(tmp_path):
    class_folders(tmp_path / "train", {"a": 2, "b": 2})
    class_folders(tmp_path / "val", {"a": 1, "b": 1})
    assert len(make("image_folder", tmp_path)) == 4
    assert len(make("image_folder", tmp_path, split="valid")) == 2
    assert len(make("image_folder", tmp_path, split="test")) == 2  # the next best
    flat = make("image_folder", tmp_path / "train" / "a")
    assert (len(flat), flat.num_classes, flat.groups, flat.group_names) == (2, 1, None, ())
    with pytest.raises(UserError, match=r"no folder for the split 'valid'.*there is: \(none\)"):
        make("image_folder", tmp_path / "train", split="valid")
    with pytest.raises(UserError, match=r"split .* must be 'train', 'valid' or 'test'"):
        make("image_folder", tmp_path, split="dev")


def test_ffhq_folders_are_no_classes(tmp_path):
    for i in (0, 999, 1000, 69999):
        save(tmp_path / f"{i // 1000:02d}000" / f"{i:05d}.png", noise(8, 8, 3, seed=i))
    dataset = make("FFHQ", tmp_path)
    assert (len(dataset), dataset.num_classes, dataset.groups) == (4, 1, None)
    assert dataset.names == ["00000/00000.png", "00000/00999.png", "01000/01000.png",
                             "69000/69999.png"]  # fmt: skip
    assert make("ImageNet", tmp_path).num_classes == 3


def test_missing_empty_and_mixed_folders(tmp_path):
    with pytest.raises(UserError, match=r"needs a folder: set DATA\.path"):
        make("image_folder", None)
    with pytest.raises(UserError, match="none, which does not exist"):
        make("image_folder", tmp_path / "none")
    (tmp_path / "readme.txt").write_text("no image")
    with pytest.raises(UserError, match="which is no folder"):
        make("image_folder", tmp_path / "readme.txt")
    with pytest.raises(UserError, match=r"finds no image in .*it takes \.bmp"):
        make("image_folder", tmp_path)
    class_folders(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "stray.png", RGB)
    with pytest.raises(UserError, match=r"others beside them, e\.g\. stray\.png.*labels=none"):
        make("image_folder", tmp_path)
    assert len(make("image_folder", tmp_path, labels="none")) == 3


def test_links_are_followed_but_not_for_ever(tmp_path):
    class_folders(tmp_path / "real", {"a": 2})
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "real" / "a")
    (root / "loop").symlink_to(root)
    assert find_images(root) == ["a/000.png", "a/001.png"]


def test_images_of_any_size_and_mode_in_one_folder(tmp_path):
    save(tmp_path / "a.png", noise(20, 9, 3))
    save(tmp_path / "b.png", noise(9, 31))
    save(tmp_path / "c.jpg", noise(8, 8, 3), "CMYK")
    save(tmp_path / "d.png", noise(40, 40, 4))
    save(tmp_path / "e.gif", noise(12, 12, 3), "P")
    x, _ = make("image_folder", tmp_path).__getitems__(range(5))
    assert x.shape == (5, 3, 8, 8)
    assert -1.0 <= float(x.min()) < float(x.max()) <= 1.0
    assert make("image_folder", tmp_path, channels=1).sample_shape == (1, 8, 8)
    with pytest.raises(UserError, match=r"channels .* must be 1 \(grey\) or 3"):
        make("image_folder", tmp_path, channels=4)


def test_a_corrupt_image_is_named_and_left_out_only_on_request(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    dataset = make("image_folder", tmp_path)
    assert dataset.__getitems__([0, 2])[0].shape == (2, 3, 8, 8)
    with pytest.raises(UserError, match=r"a/001\.png cannot be read .*skip_corrupt=true"):
        dataset.__getitems__([0, 1])
    with pytest.warns(UserWarning, match=r"Left out 1 of 6 images .*a/001\.png"):
        smaller = make("image_folder", tmp_path, skip_corrupt=True)
    assert smaller.names == ["a/000.png", "a/002.png", "b/000.png", "b/001.png", "b/002.png"]
    assert smaller.labels.tolist() == smaller.groups.tolist() == [0, 0, 1, 1, 1]
    assert smaller.kept.tolist() == [0, 2, 3, 4, 5]
    assert smaller.__getitems__(range(5))[1].tolist() == [0, 0, 1, 1, 1]
    for name in find_images(tmp_path):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="no image that can be read"):
        make("image_folder", tmp_path, skip_corrupt=True)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="may read everything")
def test_an_image_without_permission_is_no_corrupt_one(tmp_path):
    save(tmp_path / "a.png", RGB).chmod(0)
    with pytest.raises(UserError, match=r"Cannot read the image .*a\.png: Permission denied"):
        make("image_folder", tmp_path, skip_corrupt=True)


def test_an_image_that_has_gone_is_no_corrupt_one(tmp_path):
    class_folders(tmp_path, {"a": 2})
    dataset = make("image_folder", tmp_path)
    (tmp_path / "a" / "001.png").unlink()
    with pytest.raises(UserError, match=r"There is no image .*001\.png"):
        dataset[1]


def test_indices_outside_no_indices_and_all_kinds_of_them(tmp_path):
    dataset = make("image_folder", class_folders(tmp_path, {"a": 3, "b": 2}))
    x, y = dataset.__getitems__([])
    assert (x.shape, y.shape, x.dtype, y.dtype) == (
        (0, 3, 8, 8), (0,), torch.float32, torch.int64,
    )  # fmt: skip
    for index in (5, -1):
        with pytest.raises(IndexError):
            dataset.__getitems__([0, index])
    assert len(list(dataset)) == 5
    expected = dataset.__getitems__([4, 1])[0]
    for same in (np.array([4, 1]), torch.tensor([4, 1]), np.array([1, 4])[::-1]):
        assert torch.equal(dataset.__getitems__(same)[0], expected)
    assert torch.equal(dataset[4][0], expected[0])
    assert isinstance(dataset[4][1], int)


class Counting(Folder):
    reads = 0

    def read(self, name: str) -> bytes:
        Counting.reads += 1
        return super().read(name)


def lazy(root: Path, size: int) -> LazyImages:
    Counting.reads = 0
    return LazyImages(
        "lazy", Counting(root), find_images(root), ImageFormat(8), cache=CacheSettings(size=size)
    )


def test_images_are_decoded_once_if_they_fit_in_memory(tmp_path):
    class_folders(tmp_path, {"a": 6})
    cached, uncached = lazy(tmp_path, 6 * 192), lazy(tmp_path, 6 * 192 - 1)
    for dataset, reads in ((cached, 6), (uncached, 12)):
        Counting.reads = 0
        first = dataset.__getitems__([0, 1, 1, 5, 2, 3, 4])[0]
        before = Counting.reads
        second = dataset.__getitems__([0, 1, 1, 5, 2, 3, 4])[0]
        assert torch.equal(first, second)
        # One more read a call tells how large files are.
        assert (Counting.reads == before) == (reads == 6)
        first.fill_(9.0)
        assert torch.equal(dataset.__getitems__([0, 1, 1, 5, 2, 3, 4])[0], second)
    copy = pickle.loads(pickle.dumps(cached))
    Counting.reads = 0
    assert torch.equal(copy.__getitems__([3])[0], cached.__getitems__([3])[0])
    assert Counting.reads > 0  # the copy came without the cache


def test_large_files_are_decoded_by_threads_in_their_places(tmp_path, monkeypatch):
    monkeypatch.setattr("gan_registry.datasets.lazy_images._threads", lambda: 3)
    names = set()
    read = Folder.read

    def reading(self, name):
        names.add(threading.current_thread().name)
        return read(self, name)

    monkeypatch.setattr(Folder, "read", reading)
    class_folders(tmp_path, {"a": 7}, side=96)  # 27 kB of noise each
    order = [6, 0, 3, 1, 5, 4, 2, 2]
    images = make("image_folder", tmp_path, 96).__getitems__(order)[0]
    assert len(names) > 1
    expected = [noise(96, 96, 3, seed=i).transpose(2, 0, 1) for i in order]
    np.testing.assert_allclose(images.numpy(), np.stack(expected) / 127.5 - 1, atol=1e-6)
    (tmp_path / "a" / "005.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"005\.png cannot be read"):
        make("image_folder", tmp_path, 96).__getitems__(order)


def test_loader_processes_serve_the_same(tmp_path):
    dataset = make("image_folder", class_folders(tmp_path, {"a": 5, "b": 4}))
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, collate_fn=lambda b: b, multiprocessing_context="fork"
    )
    x = torch.cat([x for x, _ in loader])
    assert torch.equal(x, dataset.__getitems__(range(9))[0])


def test_the_fingerprint_sees_names_content_order_and_format(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 3})
    reference = make("image_folder", tmp_path).fingerprint()
    assert make("image_folder", tmp_path).fingerprint() == reference
    seen = {
        reference,
        make("image_folder", tmp_path, resize="box").fingerprint(),
        make("image_folder", tmp_path, channels=1).fingerprint(),
        make("image_folder", tmp_path, img_size=4).fingerprint(),
        make("image_folder", tmp_path, groups="none").fingerprint(),
        make("image_folder", tmp_path, labels="none").fingerprint(),
    }
    (tmp_path / "a" / "001.png").rename(tmp_path / "a" / "0010.png")
    seen.add(make("image_folder", tmp_path).fingerprint())
    (tmp_path / "a" / "0010.png").rename(tmp_path / "a" / "001.png")
    assert make("image_folder", tmp_path).fingerprint() == reference
    save(tmp_path / "a" / "001.png", noise(8, 8, 3, seed=77))
    seen.add(make("image_folder", tmp_path).fingerprint())
    assert len(seen) == 8


def test_an_unknown_option_names_the_nearest(tmp_path):
    with pytest.raises(UserError, match=r"Unknown option 'resise' .* mean 'resize'\? Known: "):
        make("image_folder", tmp_path, resise="box")


# --- CIFAR ---------------------------------------------------------------------------------------


def write_cifar10(folder: Path, per_batch: int = 4) -> np.ndarray:
    """Writes the binary version from its specification: a label byte, then R, G and B planes."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    records = noise(6, per_batch, 3073)
    records[:, :, 0] = np.arange(6 * per_batch).reshape(6, -1) % 10
    for file, batch in zip(files, records, strict=True):
        (folder / file).write_bytes(batch.tobytes())
    return records


@pytest.mark.parametrize("inner", ["cifar-10-batches-bin", ""])
def test_cifar10_binary_version(tmp_path, inner):
    records = write_cifar10(tmp_path / inner)
    dataset = make("CIFAR10", tmp_path, 32)
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (20, (3, 32, 32), 10)
    expected = records[:5].reshape(20, 3073)
    assert (pixels_of(dataset).reshape(20, -1) == expected[:, 1:]).all()
    assert dataset.groups.tolist() == expected[:, 0].tolist() == dataset.labels.tolist()
    assert dataset.group_names[3] == "cat"
    test = make("CIFAR10", tmp_path, 32, split="test", groups="none")
    assert (len(test), test.groups) == (4, None)
    assert make("CIFAR10", tmp_path, 16).sample_shape == (3, 16, 16)
    grey = make("CIFAR10", tmp_path, 32, channels=1)
    image = Image.fromarray(expected[7, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    assert (pixels_of(grey)[7, 0] == np.asarray(image.convert("L"))).all()  # Pillow's own
    with pytest.raises(UserError, match="has no superclasses"):
        make("CIFAR10", tmp_path, 32, groups="superclass")


def test_cifar100_has_classes_and_superclasses(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    records = noise(3, 3074)
    records[:, 0], records[:, 1] = [19, 0, 4], [99, 7, 50]  # coarse, fine
    (folder / "train.bin").write_bytes(records.tobytes())
    dataset = make("CIFAR100", tmp_path, 32)
    assert (dataset.num_classes, dataset.labels.tolist()) == (100, [99, 7, 50])
    assert dataset.group_names[7] == "class 7"
    assert (pixels_of(dataset).reshape(3, -1) == records[:, 2:]).all()
    (folder / "coarse_label_names.txt").write_text("\n".join(f"super{i}" for i in range(20)) + "\n")
    dataset = make("CIFAR100", tmp_path, 32, groups="superclass")
    assert dataset.groups.tolist() == [19, 0, 4]
    assert (dataset.group_names[19], dataset.labels.tolist()) == ("super19", [99, 7, 50])


def test_damaged_and_missing_cifar_files(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar10(folder)
    file = folder / "data_batch_2.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(UserError, match=r"data_batch_2\.bin is damaged: 12291 bytes .*--download"):
        make("CIFAR10", tmp_path, 32)
    file.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(UserError, match=r"data_batch_2\.bin is damaged: it has a label beyond 9"):
        make("CIFAR10", tmp_path, 32)
    file.unlink()
    with pytest.raises(UserError, match=r"There is no file .*data_batch_2\.bin"):
        make("CIFAR10", tmp_path, 32)
    with pytest.raises(UserError, match=r"needs a folder.*--download"):
        make("CIFAR10", None, 32)
    with pytest.raises(UserError, match=r"finds neither .*nor images in .*--download"):
        make("CIFAR10", tmp_path / "none", 32)


def test_no_pickle_is_read(tmp_path, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps(Bomb()))
    for root in (tmp_path, folder):
        with pytest.raises(
            UserError,
            match=r"Python version, whose pickles are not read.*cifar-10-binary\.tar\.gz",
        ):
            make("CIFAR10", root, 32)
    np.savez(tmp_path / "x.npz", x=np.array([Bomb()], object))
    with pytest.raises(UserError, match="Cannot read"):
        read_arrays(tmp_path / "x.npz")


@needs_cifar
def test_cifar10_from_a_folder_of_jpegs():
    dataset = make("CIFAR10", DATA / "cifar10", 32)
    assert (len(dataset), dataset.num_classes) == (4000, 10)
    assert np.bincount(dataset.groups).tolist() == [400] * 10
    assert dataset.group_names[3] == "cat"
    assert len(make("CIFAR10", DATA / "cifar10", 32, split="test")) == 1000
    index = dataset.names.index("cat/0001.jpg")
    with Image.open(DATA / "cifar10" / "train" / "cat" / "0001.jpg") as image:
        expected = np.asarray(image).transpose(2, 0, 1)
    x, y = dataset[index]
    np.testing.assert_allclose(x.numpy(), expected / 127.5 - 1, atol=1e-6)
    assert y == 3
    with pytest.raises(UserError, match="tells no superclasses"):
        make("CIFAR100", DATA / "cifar10", 32, groups="superclass")


# --- LMDB ----------------------------------------------------------------------------------------


def write_lmdb(folder: Path, items: dict[bytes, bytes]) -> None:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=2**22) as environment, environment.begin(write=True) as t:
        for key, value in items.items():
            t.put(key, value)


def test_lsun_databases(tmp_path):
    images = {bytes([255 - i]) + b"key": noise(12, 10, 3, seed=i) for i in range(4)}
    write_lmdb(tmp_path, {k: encoded(Image.fromarray(v), "png") for k, v in images.items()})
    dataset = make("LSUN", tmp_path, 10)
    assert (len(dataset), dataset.groups, dataset.num_classes) == (4, None, 1)
    expected = [images[key][1:11].transpose(2, 0, 1) for key in sorted(images)]
    assert (pixels_of(dataset) == np.stack(expected)).all()
    assert len(make("LSUN", tmp_path, 10, num_samples=2)) == 2
    with pytest.raises(UserError, match=r"num_samples = 5, but the LMDB .* has 4 images"):
        make("LSUN", tmp_path, 10, num_samples=5)
    loader = DataLoader(
        dataset, batch_size=2, num_workers=1, collate_fn=lambda b: b, multiprocessing_context="fork"
    )
    assert torch.equal(torch.cat([x for x, _ in loader]), dataset.__getitems__(range(4))[0])
    assert len(pickle.loads(pickle.dumps(dataset)).__getitems__([0])[0]) == 1


def test_a_database_is_decoded_into_a_file_once_and_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.delenv("GAN_REGISTRY_CACHE")
    images = [noise(8, 8, 3, seed=i) for i in range(2)]
    items = {bytes([i]): encoded(Image.fromarray(x), "png") for i, x in enumerate(images)}
    write_lmdb(tmp_path, items)
    decoded = []
    plain = lazy_images.decode
    monkeypatch.setattr(lazy_images, "decode", lambda *args: decoded.append(1) or plain(*args))
    for count in (2, 2, 4):
        if count == 4:
            os.utime(tmp_path / "data.mdb", ns=(1, 1))
        dataset = make("LSUN", tmp_path, cache="disk")
        dataset.prepare(0)
        assert (pixels_of(dataset) == np.stack(images).transpose(0, 3, 1, 2)).all()
        assert len(decoded) == count
    assert len(list(tmp_path.glob(".gan_registry-*.safetensors"))) == 1


def test_databases_prepared_for_stylegan2(tmp_path):
    items = {
        f"{size}-{i:05d}".encode(): encoded(Image.fromarray(noise(size, size, 3, seed=i)))
        for size in (8, 16)
        for i in range(3)
    }
    write_lmdb(tmp_path, {**items, b"length": b"3"})
    dataset = make("FFHQ_lmdb", tmp_path, 16)
    assert (len(dataset), dataset.sample_shape) == (3, (3, 16, 16))
    assert (pixels_of(dataset)[2] == noise(16, 16, 3, seed=2).transpose(2, 0, 1)).all()
    with pytest.raises(UserError, match=r"no images of 32 px; .*one of: 8, 16"):
        make("FFHQ_lmdb", tmp_path, 32)


def test_no_database_a_corrupt_value_and_no_package(tmp_path, monkeypatch):
    write_lmdb(tmp_path / "db", {b"abc": b"no image"})
    with pytest.raises(UserError, match=r"db:abc cannot be read"):
        make("LSUN", tmp_path / "db")[0]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match=r"Cannot open .*other as an LMDB"):
        make("LSUN", tmp_path / "other")


def test_without_the_package_lmdb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match=r"pip install 'diagan-plugin\[lmdb\]'"):
        make("LSUN", tmp_path)


# --- NumPy files and paths -----------------------------------------------------------------------


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_arrays_of_bytes_in_either_layout(tmp_path):
    images = noise(5, 8, 8, 3)
    for name, x in (("nhwc", images), ("nchw", images.transpose(0, 3, 1, 2))):
        dataset = read_arrays(saved(tmp_path / f"{name}.npz", x=x))
        assert (dataset.sample_shape, dataset.kind) == ((3, 8, 8), "image")
        assert (pixels_of(dataset) == images.transpose(0, 3, 1, 2)).all()
    grey = read_arrays(saved(tmp_path / "grey.npz", arr_0=images[..., 0]))
    assert grey.sample_shape == (1, 8, 8)
    np.save(tmp_path / "x.npy", images)
    assert len(read_arrays(tmp_path / "x.npy")) == 5
    ambiguous = saved(tmp_path / "3.npz", x=noise(5, 3, 8, 3))
    with pytest.raises(UserError, match=r"set DATA\.options\.layout"):
        read_arrays(ambiguous)
    assert read_arrays(ambiguous, "NHWC").sample_shape == (3, 3, 8)
    assert read_arrays(ambiguous, "NCHW").sample_shape == (3, 8, 3)


def test_arrays_of_floats_and_points_labels_and_groups(tmp_path):
    x = np.random.default_rng(0).random((6, 3, 4, 4))
    unit = read_arrays(saved(tmp_path / "a.npz", x=x))
    signed = read_arrays(saved(tmp_path / "b.npz", x=(x * 2 - 1).astype(np.float32)))
    for dataset in (unit, signed):
        assert (dataset.kind, dataset.value_range) == ("image", (-1.0, 1.0))
        np.testing.assert_allclose(dataset.__getitems__(range(6))[0], x * 2 - 1, atol=1e-6)
    points = read_arrays(
        saved(
            tmp_path / "c.npz", x=x.reshape(6, -1) * 100, y=np.arange(6) % 3,
            groups=np.array([0, -1, 1, 1, 0, 0]), group_names=np.array(["big", "small"]),
        )
    )  # fmt: skip
    assert (points.kind, points.value_range, points.num_classes) == ("points", None, 3)
    assert points.groups.tolist() == [0, -1, 1, 1, 0, 0]
    assert points.group_names == ("big", "small")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.ones(3), "b": np.ones(3)}, r"no array 'x'; it has: a, b"),
        ({"x": np.ones((2, 3, 4, 4)) * 255.0}, r"floats from 255 to 255; images must be bytes"),
        ({"x": np.full((4, 3), np.nan)}, "NaN or infinity in 4 of its 4 samples"),
        ({"x": np.full((2, 3, 4, 4), -np.inf)}, "NaN or infinity in 2 of its 2 samples"),
        ({"x": np.zeros((2, 4, 4, 4), np.uint8)}, "lack an axis of 1 or 3"),
        ({"x": np.zeros((0, 3, 4, 4), np.uint8)}, "holds no sample"),
        ({"x": np.zeros((2, 3, 4, 4), np.int64)}, "holds int64"),
        ({"x": np.zeros(5)}, r"an array \[5\], neither images nor points"),
        ({"x": np.zeros((5, 2)), "y": np.zeros(4, int)}, r"'y' must be 5 integers, but is int64"),
        ({"x": np.zeros((5, 2)), "y": np.full(5, -1)}, "'y' must be from 0 on, but has -1"),
        (
            {"x": np.zeros((2, 2)), "groups": np.array([0, 1]), "group_names": np.array(["a"])},
            "names 1 groups, but has 2",
        ),
    ],
)
def test_arrays_that_are_no_samples(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        read_arrays(saved(tmp_path / "x.npz", **arrays))


def test_arrays_file_as_a_dataset(tmp_path):
    path = saved(tmp_path / "x.npz", x=noise(5, 8, 8, 3))
    assert make("arrays_file", path, 8).sample_shape == (3, 8, 8)
    with pytest.raises(UserError, match=r"of 8×8 px; set DATA\.img_size to that, not 32"):
        make("arrays_file", path, 32)
    with pytest.raises(UserError, match="There is no file"):
        make("arrays_file", tmp_path / "none.npz")
    with pytest.raises(UserError, match="needs a file"):
        make("arrays_file", None)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"Cannot read .* as a NumPy file"):
        make("arrays_file", path, 8)


def test_opening_a_path_keeps_sizes_and_channels(tmp_path):
    save(tmp_path / "a" / "1.png", noise(6, 9, 3))
    save(tmp_path / "2.png", noise(6, 9))  # grey, first in order
    with pytest.raises(UserError, match=r"1\.png is 9×6 px of 3 channels, but .*9×6 px of 1 chan"):
        open_images(tmp_path).__getitems__([0, 1])
    assert open_images(tmp_path, channels=3).__getitems__([0, 1])[0].shape == (2, 3, 6, 9)
    assert open_images(tmp_path, 4, channels=1).sample_shape == (1, 4, 4)
    (tmp_path / "2.png").rename(tmp_path / "a" / "2.png")  # now the coloured one comes first
    assert open_images(str(tmp_path)).__getitems__([0, 1])[0].shape == (2, 3, 6, 9)
    save(tmp_path / "b.png", noise(7, 9, 3))
    with pytest.raises(UserError, match=r"a/1\.png is 9×6 px .*first one 9×7 px"):
        open_images(tmp_path).__getitems__([1])
    assert len(open_images(saved(tmp_path / "x.npz", x=noise(5, 8, 8, 3)))) == 5
    for path, message in (
        (tmp_path / "none", "is not there"),
        (tmp_path / "b.png", "neither a folder nor"),
    ):
        with pytest.raises(UserError, match=message):
            open_images(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"There is no image in .*empty"):
        open_images(tmp_path / "empty")
