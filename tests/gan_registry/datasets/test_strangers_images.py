"""Image files that someone else made: each is read as before, or refused in one line."""

from __future__ import annotations

import io
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_registry.datasets.base import Dataset
from gan_registry.datasets.decoding import ImageFormat, UnreadableImageError, decode
from gan_registry.datasets.image_folder import Folder
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.errors import UserError

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def encoded(mode: str, kind: str, size: tuple[int, int] = (6, 4), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 0).save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG whose header promises a size, of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
    )  # fmt: skip


def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("L", (6, 4), shade) for shade in (0, 255)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def palette() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4)).quantize(4).save(buffer, "PNG", transparency=0)
    return buffer.getvalue()


def sixteen_bits() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


# File name and content → what the line says; None where it is read.
FILES: dict[str, tuple[str, Callable[[], bytes], str | None]] = {
    "truncated PNG": ("a.png", lambda: encoded("RGB", "PNG")[:48], "cannot be read"),
    "truncated JPEG": ("a.jpg", lambda: encoded("RGB", "JPEG")[:500], "cannot be read"),
    "empty": ("a.png", lambda: b"", "no image of a known kind"),
    "text": ("a.png", lambda: b"hello", "no image of a known kind"),
    "a page": ("a.jpg", lambda: b"<!DOCTYPE html><html>", "no image of a known kind"),
    "PostScript": ("a.png", lambda: encoded("RGB", "EPS"), "no image of a known kind"),
    "an icon": ("a.png", lambda: encoded("RGB", "ICO", (16, 16)), "no image of a known kind"),
    "a PDF": ("a.png", lambda: encoded("RGB", "PDF"), "no image of a known kind"),
    "a bomb": ("a.png", lambda: png_of(9000, 9000), "9000×9000 px are more than DATA.max_pixels"),
    "one that Pillow warns of": ("a.png", lambda: png_of(10_000, 10_000), "DATA.max_pixels"),
    "one that Pillow refuses": ("a.png", lambda: png_of(20_000, 20_000), "more pixels than Pillow"),
    "the largest header": ("a.png", lambda: png_of(2**31 - 1, 2**31 - 1), "more pixels than"),
    "no width": ("a.png", lambda: png_of(0, 4), "cannot be read"),
    "a header alone": ("a.png", lambda: png_of(8000, 8000)[:33], "cannot be read"),
    "floating point": ("a.tif", lambda: encoded("F", "TIFF"), "floating-point pixels"),
    "32 bits": (
        "a.tif", lambda: tiff_of(np.full((4, 6), 70_000, np.int32)), "more than 16 bits"),
    "another extension": ("a.png", lambda: encoded("RGB", "JPEG"), None),
    "WebP named PNG": ("a.png", lambda: encoded("RGB", "WEBP"), None),
    "BMP named JPEG": ("a.jpg", lambda: encoded("RGB", "BMP"), None),
    "an animation": ("a.gif", animated, None),
    "CMYK": ("a.jpg", lambda: encoded("CMYK", "JPEG"), None),
    "16 bits": ("a.png", sixteen_bits, None),
    "a palette with transparency": ("a.png", palette, None),
    "one bit": ("a.png", lambda: encoded("1", "PNG"), None),
    "grey with transparency": ("a.png", lambda: encoded("LA", "PNG"), None),
    "colour with transparency": ("a.webp", lambda: encoded("RGBA", "WEBP"), None),
    "portable": ("a.ppm", lambda: encoded("RGB", "PPM"), None),
}  # fmt: skip


def tiff_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue()


def opened(folder: Path, *names: str, **form: int) -> Dataset:
    return LazyImages("image_folder", Folder(folder), names, ImageFormat(4, 3, **form))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_or_named_in_one_line(tmp_path: Path, name: str) -> None:
    file, content, says = FILES[name]
    (tmp_path / file).write_bytes(content())
    dataset = opened(tmp_path, file)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a line of Pillow's would be no line of ours
        if says is None:
            x, _ = dataset.__getitems__([0])
            assert x.shape == (1, 3, 4, 4)
            return
        with pytest.raises(UserError, match=r"skip_corrupt=true\.$") as caught:
            dataset.__getitems__([0])
    assert says in str(caught.value)
    assert str(tmp_path / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_limit_on_pixels_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("RGB", "PNG", (6, 4)))
    assert opened(tmp_path, "a.png", max_pixels=24)[0][0].shape == (3, 4, 4)
    with pytest.raises(UserError, match=r"6×4 px are more than DATA\.max_pixels, 23"):
        opened(tmp_path, "a.png", max_pixels=23)[0]


def test_the_limit_is_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("RGB", "PNG"))
    some, others = (opened(tmp_path, "a.png", max_pixels=limit) for limit in (100, 200))
    assert some.fingerprint() == others.fingerprint()
    assert "max_pixels" not in repr(ImageFormat(4))  # which fingerprints of old runs hold


def test_a_size_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(UnreadableImageError, match="max_pixels"):
        decode(png_of(9000, 9000), ImageFormat(4))


def test_large_ones_are_left_out_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of(9000, 9000))
    (tmp_path / "b.png").write_bytes(encoded("RGB", "PNG"))
    with pytest.warns(UserWarning, match="Left out 1 of 2"):
        dataset = LazyImages(
            "image_folder", Folder(tmp_path), ["a.png", "b.png"], ImageFormat(4), skip_corrupt=True
        )
    assert dataset.names == ["b.png"]


@pytest.fixture
def special(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What lies at the path of an image and is none: file name → what is said of it."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "pipe-link.png").symlink_to("pipe.png")
    found = {
        "pipe.png": "it is a pipe",
        "folder.png": "it is a folder",
        "loop.png": "symbolic links",
        "nowhere.png": "it is a link that leads nowhere",
        "zero.png": "it is a device",
        "pipe-link.png": "it is a pipe",
    }
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may have some 100 bytes
        try:
            server.bind("socket.png")
        finally:
            os.chdir(before)
        yield {**found, "socket.png": "it is a socket"}


@needs_pipes
def test_only_regular_files_are_opened(tmp_path: Path, special: dict[str, str]) -> None:
    for name, says in special.items():
        with pytest.raises(UserError, match=says) as caught:
            opened(tmp_path, name)[0]
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(encoded("RGB", "PNG"))
    (tmp_path / "a.png").symlink_to("real")
    assert opened(tmp_path, "a.png")[0][0].shape == (3, 4, 4)


def test_an_endless_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(UserError, match=r"its 1,099,511,627,776 bytes are more than"):
        opened(tmp_path, "a.png")[0]
