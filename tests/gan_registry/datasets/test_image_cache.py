from __future__ import annotations

import errno
import os
import pickle
import shutil
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import digits_config, manager
from torch.utils.data import DataLoader

from gan_registry.datasets import image_file, lazy_images
from gan_registry.datasets.decoding import ImageFormat
from gan_registry.datasets.holdout import hold_out
from gan_registry.datasets.image_cache import CacheSettings
from gan_registry.datasets.image_folder import Folder, find_images
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.errors import UserError
from gan_registry.training.trainer import train

SIDE, COUNT = 8, 7
BYTES = 3 * SIDE * SIDE
ALL = np.arange(COUNT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of seven images."""
    for number in range(COUNT):
        save(tmp_path / "data" / f"{number}.png", number)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def no_own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GAN_REGISTRY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry with each image that is decoded."""
    calls: list[int] = []
    decode = lazy_images.decode

    def counting(data: bytes, form: ImageFormat) -> np.ndarray:
        calls.append(len(data))
        return decode(data, form)

    monkeypatch.setattr(lazy_images, "decode", counting)
    return calls


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def images(root: Path, kind: str = "disk", size: int = 2**20, form: ImageFormat | None = None,
           processes: int = 1, part: str = "") -> LazyImages:  # fmt: skip
    settings = CacheSettings(kind, size, processes, root)  # type: ignore[arg-type]
    form = form or ImageFormat(SIDE)
    return LazyImages("lazy", Folder(root), find_images(root), form, cache=settings, part=part)


def prepared(root: Path, **settings: object) -> LazyImages:
    dataset = images(root, **settings)  # type: ignore[arg-type]
    dataset.prepare(10**9)
    return dataset


def expected(root: Path, names: list[str]) -> np.ndarray:
    opened = (Image.open(root / name).convert("RGB") for name in names)
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in opened])


def pixels(dataset: LazyImages) -> np.ndarray:
    order = np.random.default_rng(0).permutation(len(dataset))
    x, _ = dataset.bytes_at(order)
    back = np.empty_like(x.numpy())
    back[order] = x.numpy()
    return back


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("kind", "size", "again", "made"),
    [
        ("none", 2**20, COUNT, False),
        ("memory", COUNT * BYTES, 0, False),
        ("memory", COUNT * BYTES - 1, COUNT, False),
        ("disk", 0, 0, True),
        ("auto", COUNT * BYTES, 0, False),
        ("auto", COUNT * BYTES - 1, 0, True),
    ],
)
def test_each_kind_serves_the_same_and_decodes_as_often_as_it_says(
    root, decoded, kind, size, again, made
):
    dataset = prepared(root, kind=kind, size=size)
    plain = expected(root, dataset.names)
    for _ in range(2):
        before = len(decoded)
        assert (pixels(dataset) == plain).all()
    assert len(decoded) - before == again
    assert bool(files(root)) == made
    assert (dataset.bytes_at(ALL[::-1])[0].numpy() == plain[::-1]).all()
    # What one is given is one's own.
    dataset.bytes_at(ALL)[0].fill_(0)
    assert (pixels(dataset) == plain).all()
    floats = plain.astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert (dataset.__getitems__(ALL)[0].numpy() == floats).all()


def test_memory_that_is_too_small_is_told(root, caplog):
    prepared(root, kind="memory", size=10)
    assert "more than DATA.cache_size, so none is kept" in caplog.text


def test_the_file_is_made_once_for_all_runs_and_processes(root, decoded):
    shown = []
    images(root).prepare(0, lambda what, done, total: shown.append((done, total)))
    assert shown == [(0, COUNT), (COUNT, COUNT)]
    assert len(decoded) == COUNT
    (file,) = files(root)
    assert file.parent == root
    assert find_images(root) == [f"{n}.png" for n in range(COUNT)]
    other = prepared(root)  # a run that makes ready
    reader = images(root)  # and a command that only reads
    for dataset in (other, reader, pickle.loads(pickle.dumps(other))):
        assert (pixels(dataset) == expected(root, dataset.names)).all()
    assert len(decoded) == COUNT
    assert file.stat().st_size < COUNT * BYTES + 1000


def test_loader_processes_share_it(root):
    dataset = prepared(root)
    plain = expected(root, dataset.names)
    for name in dataset.names:
        (root / name).unlink()
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, collate_fn=lambda b: b, multiprocessing_context="fork"
    )
    x = torch.cat([x for x, _ in loader])
    assert torch.equal(x, dataset.__getitems__(ALL)[0])
    assert (((x + 1) * 127.5).round().numpy() == plain).all()


def test_it_lies_in_the_cache_folder_where_the_data_may_not_be_written_to(
    root, tmp_path, monkeypatch, decoded
):
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != root and access(path, mode))
    prepared(root)
    assert not files(root)
    (file,) = files(tmp_path / "cache" / "gan_registry" / "images")
    assert len(decoded) == COUNT
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "own"))
    prepared(root)
    assert len(files(tmp_path / "own" / "images")) == 1
    monkeypatch.undo()
    assert file.exists()


def test_other_data_in_a_folder_of_the_cache_have_a_file_of_their_own(root, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "own"))
    shutil.copytree(root, tmp_path / "copy")
    save(tmp_path / "copy" / "0.png", 99)
    for folder in (root, tmp_path / "copy"):
        assert (pixels(prepared(folder)) == expected(folder, images(folder).names)).all()
    assert len(files(tmp_path / "own")) == 2


def test_forms_and_parts_have_files_of_their_own(root, decoded):
    prepared(root)
    for change in (
        {"form": ImageFormat(4)}, {"form": ImageFormat(4, resize="box")},
        {"form": ImageFormat(SIDE, 1)}, {"part": "half"},
    ):  # fmt: skip
        before = len(decoded)
        prepared(root, **change)
        assert len(decoded) == before + COUNT, change
    assert len(files(root)) == 5
    before = len(decoded)
    prepared(root)
    assert len(decoded) == before


def rewritten(root: Path) -> None:
    save(root / "3.png", 50)
    os.utime(root / "3.png", ns=(1, 1))


def added(root: Path) -> None:
    save(root / "30.png", 50)


def removed(root: Path) -> None:
    (root / "3.png").unlink()


def exchanged(root: Path) -> None:
    for one, other in (("3.png", "x"), ("4.png", "3.png"), ("x", "4.png")):
        (root / one).rename(root / other)


@pytest.mark.parametrize("change", [rewritten, added, removed, exchanged])
def test_changed_data_are_never_served_from_an_old_file(root, change: Callable[[Path], None]):
    prepared(root)
    change(root)
    for dataset in (images(root), prepared(root), images(root)):
        assert (pixels(dataset) == expected(root, dataset.names)).all()
    assert len(files(root)) == 1  # the old one was replaced


def test_a_file_by_another_version_of_pillow_is_made_anew(root, decoded, monkeypatch):
    prepared(root)
    monkeypatch.setattr(lazy_images.PIL, "__version__", "0")
    prepared(root)
    assert len(decoded) == 2 * COUNT


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def overwritten(file: Path) -> None:
    file.write_bytes(b"\xff" * 500)


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def with_another_header(file: Path) -> None:
    file.write_bytes((2).to_bytes(8, "little") + b"[]" + b"0" * COUNT * BYTES)


@pytest.mark.parametrize("damage", [cut, emptied, overwritten, flipped, with_another_header])
def test_a_damaged_file_is_named_and_made_anew(root, decoded, caplog, damage):
    prepared(root)
    (file,) = files(root)
    sound = file.read_bytes()
    damage(file)
    dataset = prepared(root)
    assert (pixels(dataset) == expected(root, dataset.names)).all()
    assert len(decoded) == 2 * COUNT
    assert file.read_bytes() == sound
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (damage is not with_another_header)
    assert all(str(file) in line for line in lines)


@pytest.mark.parametrize("damage", [cut, overwritten])
def test_a_command_that_only_reads_goes_on_without_it(root, caplog, damage):
    prepared(root)
    damage(files(root)[0])
    dataset = images(root)
    assert (pixels(dataset) == expected(root, dataset.names)).all()
    assert (pixels(dataset) == expected(root, dataset.names)).all()
    assert len(caplog.records) == 1


def test_a_full_disk_leaves_nothing_behind_and_a_line(root, caplog, monkeypatch):
    def full(path: Path, entries: object, metadata: object) -> None:
        path.write_bytes(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_file, "write_tensors", full)
    dataset = prepared(root)
    assert (pixels(dataset) == expected(root, dataset.names)).all()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "No space left on device" in line
    assert line.endswith("The run goes on without a file of decoded images.")
    assert not [path for path in root.iterdir() if path.suffix in (".safetensors", ".tmp")]


def test_no_room_is_told_before_anything_is_decoded(root, decoded, caplog, monkeypatch):
    free = {"now": 4 * COUNT * BYTES - 1}
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free["now"]))
    prepared(root, kind="auto", size=0)
    assert caplog.messages[-1].endswith("; DATA.cache=disk makes it all the same.")
    assert not decoded
    prepared(root, kind="disk")
    assert len(files(root)) == 1
    files(root)[0].unlink()
    free["now"] = COUNT * BYTES - 1
    prepared(root, kind="disk")
    assert caplog.messages[-1].endswith("the run goes on without a file of them.")
    assert len(decoded) == COUNT
    free["now"] = 4 * COUNT * BYTES
    prepared(root, kind="auto", size=0)
    assert len(files(root)) == 1


def test_auto_makes_one_only_for_a_training_that_sees_the_data(root, decoded):
    dataset = images(root, "auto", 0)
    dataset.prepare(COUNT - 1)
    assert not decoded
    dataset.prepare(COUNT)
    assert len(decoded) == COUNT


def test_memory_is_shared_by_the_loaders_processes(root):
    prepared(root, kind="auto", size=2 * COUNT * BYTES, processes=2)
    assert not files(root)
    prepared(root, kind="auto", size=2 * COUNT * BYTES, processes=3)
    assert files(root)


def test_an_image_that_cannot_be_decoded_is_named_and_there_is_no_file(root):
    (root / "5.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"5\.png cannot be read .*skip_corrupt=true"):
        prepared(root)
    assert not [path for path in root.iterdir() if path.suffix in (".safetensors", ".tmp")]


@pytest.mark.skipif(not hasattr(image_file, "fcntl"), reason="no locks on this system")
def test_a_second_process_waits_for_the_first(root, decoded, monkeypatch):
    waiting, plain = threading.Event(), lazy_images.decode

    def slow(data: bytes, form: ImageFormat) -> np.ndarray:
        assert waiting.wait(60)  # until the second one has come to the lock
        return plain(data, form)

    monkeypatch.setattr(lazy_images, "decode", slow)
    begun = threading.Event()
    first, second = images(root), images(root)
    maker = threading.Thread(target=first.prepare, args=(0, lambda *_: begun.set()))
    maker.start()
    try:
        assert begun.wait(60)
        second.prepare(0, lambda *_: waiting.set())
    finally:
        waiting.set()
        maker.join()
    assert len(decoded) == COUNT
    assert (pixels(second) == expected(root, second.names)).all()


def test_nobody_waits_to_compare_the_checksum_of_a_file_that_is_there(root, decoded, monkeypatch):
    prepared(root)
    monkeypatch.setattr(image_file, "_locked", lambda *_: pytest.fail("waited"))
    assert (pixels(prepared(root)) == expected(root, find_images(root))).all()
    assert len(decoded) == COUNT


def sound(root: Path, **form: int) -> list[str]:
    """Opens the images that can be read; returns their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        names, kind = find_images(root), ImageFormat(SIDE, **form)
        return LazyImages("lazy", Folder(root), names, kind, skip_corrupt=True).names


def test_which_images_can_be_read_is_found_out_once(root, decoded, monkeypatch):
    (root / "5.png").write_bytes(b"broken")
    good = ["0.png", "1.png", "2.png", "3.png", "4.png", "6.png"]
    assert sound(root) == sound(root) == good
    assert len(decoded) == COUNT
    # Any of these is another question.
    assert sound(root, channels=1) == good
    assert sound(root, max_pixels=SIDE * SIDE) == good
    assert len(decoded) == 3 * COUNT
    save(root / "5.png", 5)
    assert sound(root) == find_images(root)
    (root / "6.png").write_bytes(b"broken")
    assert sound(root) == find_images(root)[:-1]
    assert len(decoded) == 5 * COUNT
    monkeypatch.setattr(lazy_images, "readable_formats", lambda: ("PNG",))  # of another Pillow
    assert sound(root) == find_images(root)[:-1]
    assert len(decoded) == 6 * COUNT


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"unreadable": [99]}'])
def test_a_damaged_note_of_what_can_be_read_is_made_anew(root, decoded, tmp_path, damage):
    assert sound(root) == find_images(root)
    (note,) = (tmp_path / "cache").rglob("*.json")
    note.write_bytes(damage)
    assert sound(root) == sound(root) == find_images(root)
    assert len(decoded) == 2 * COUNT


def test_what_can_be_read_is_found_out_where_nothing_can_be_kept(root, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert sound(root) == find_images(root)


def test_what_a_killed_process_left_is_removed(root):
    prepared(root)
    (file,) = files(root)
    file.unlink()
    left = root / f".{file.name}.abc.tmp"
    left.write_bytes(b"half")
    prepared(root)
    assert not left.exists()


def test_parts_of_a_dataset_make_the_whole_ready(root, decoded):
    left, held = hold_out(images(root), 0.3, 0)
    assert left.decodes
    left.prepare(10**9)
    before = len(decoded)
    for part in (left, held):
        found = part.bytes_at(np.arange(len(part)))
        assert found is not None
        assert (found[0].numpy() == expected(root, images(root).names)[part.indices]).all()
    assert len(decoded) == before


@pytest.mark.parametrize("quiet", [False, True])
def test_a_training_makes_it_and_says_so(root, decoded, capsys, quiet):
    config = digits_config(
        DATA__name="image_folder", DATA__options={}, DATA__path=str(root), DATA__cache="disk",
        OPTIMIZATION__batch_size=4, OPTIMIZATION__total_steps=1,
    )  # fmt: skip
    run = train(config, None, manager(), quiet=quiet)
    assert len(decoded) == COUNT
    (file,) = files(root)
    said = capsys.readouterr().err
    assert (f"decoding 7 images into {file}\n" in said) != quiet
    assert (pixels(run.dataset) == expected(root, run.dataset.names)).all()  # type: ignore[attr-defined, arg-type]
