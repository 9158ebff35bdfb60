"""`--dia-exclude`: what a list may look like, and what it does in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import manager, points_config

from diagan_plugin import load_diagnosis
from diagan_plugin.dia.exclusion import read_listed
from diagan_plugin.dia.options import NAME
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.export import write_export
from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import UserError
from gan_registry.training.plan import describe_plan
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run, train

PATHS = ("train/a.png", "train/b c.png", "train/7", "train/caf\udce9.png", "#odd.png")


class Files(ArrayDataset):
    """Samples that are called by paths."""

    def __init__(self) -> None:
        super().__init__("files", np.zeros((len(PATHS), 2), np.float32))

    def sample_names(self, indices: Any) -> list[str]:
        return [PATHS[index] for index in indices]


def listed(path: Path, content: str | np.ndarray) -> list[int]:
    if isinstance(content, str):
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    else:
        np.save(path, content)
    return read_listed(path, Files(), "data").tolist()


@pytest.mark.parametrize(
    ("suffix", "content", "expected"),
    [
        (".txt", "# broken\ntrain/b c.png\r\n\n0\n0\n", [0, 1]),
        (".txt", "./train/a.png\ndata/train/7\n", [0, 2]),
        (".txt", "train/caf\udce9.png\n#odd.png", [3]),  # a remark, whatever is called so
        (".txt", r"train/caf\xe9.png", [3]),  # as it is shown
        ("", "4\n2\n", [2, 4]),
        (".txt", "", []),
        (".csv", "index,path\n3,train/a.png\n", [0]),
        (".csv", "score,index\n0.5,3\n0.25,1\n", [1, 3]),
        (".npy", np.array([3, 0]), [0, 3]),
        (".npy", np.array(["train/7"]), [2]),
        (".npy", np.array([(2,)], [("index", "<i8")]), [2]),
    ],
)
def test_forms_of_a_list(tmp_path: Path, suffix: str, content: Any, expected: list[int]) -> None:
    assert listed(tmp_path / f"list{suffix}", content) == expected


@pytest.mark.parametrize(
    ("suffix", "content", "says"),
    [
        (".txt", "train/a.png\nb.png\nc.png\n", r"'b.png' and 1 more, .*'train/a.png'"),
        (".txt", "5", "'5', which"),
        (".npy", np.array([-1]), "'-1'"),
        (".npy", np.array([0.5]), "indices or names"),
        (".npy", np.zeros((2, 2), int), "indices or names"),
        (".npy", np.array([(2,)], [("row", "<i8")]), "neither .*but row"),
        (".csv", "row\n1\n", "neither .*but row"),
        (".csv", "index\nx\n", "more than numbers"),
        (".csv", "", "empty"),
    ],
)
def test_lists_that_cannot_be_used_say_why(
    tmp_path: Path, suffix: str, content: Any, says: str
) -> None:
    with pytest.raises(UserError, match=says) as caught:
        listed(tmp_path / f"list{suffix}", content)
    assert "list" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_array(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no file"):
        read_listed(tmp_path / "nothing.txt", Files())
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="NumPy"):
        read_listed(tmp_path / "damaged.npy", Files())


def test_rows_are_names_too(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("row 3\n1\n")
    points = ArrayDataset("points", np.zeros((5, 2), np.float32))
    assert read_listed(tmp_path / "list.txt", points).tolist() == [1, 3]


# ------------------------------------------------------------------ in a run


def fit(folder: Path, exclude: str, steps: int = 40, **options: Any) -> Run:
    config = points_config(
        OPTIMIZATION__total_steps=steps, OPTIMIZATION__batch_size=25, RUN__save_freq=20
    )
    config.RUN.sampler = NAME
    config.PLUGINS = {NAME: {"record_every": 4, "window": 5, "exclude": exclude, **options}}
    return train(config, folder, manager(dia=DiaPlugin()), quiet=True)


def most(diagnosis: Diagnosis) -> np.ndarray:
    return np.argsort(diagnosis.probability)[::-1][:20]


def test_a_run_does_not_emphasise_what_is_listed(tmp_path: Path) -> None:
    fit(tmp_path / "free", "", aux="none")
    free = load_diagnosis(tmp_path / "free")
    chosen = most(free)
    assert (free.probability[chosen] > 1.02 / 200).all()  # else the test would show nothing
    np.savetxt(tmp_path / "list.txt", chosen, fmt="%d")
    run = fit(tmp_path / "run", str(tmp_path / "list.txt"), aux="none")
    found = load_diagnosis(tmp_path / "run")
    assert (found.score == free.score).all()  # phase 1 is the same
    assert (found.probability[chosen] <= 1 / 200 + 1e-15).all()
    assert found.metadata["excluded"] == "20"
    drawn = run.sampler.probabilities_at(run.position - 1)  # type: ignore[attr-defined]
    np.testing.assert_allclose(drawn[chosen], 1 / 200)


def test_the_list_is_part_of_the_run(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("1\n5\n")
    fit(tmp_path / "run", str(file), steps=20)
    file.write_text("1\n")
    with pytest.raises(UserError, match="1 samples, other ones than the 2 with which"):
        fit(tmp_path / "run", str(file))
    # Deleted, it is not missed: neither by the run that goes on nor by what opens it.
    file.unlink()
    fit(tmp_path / "run", str(file))
    plugin = DiaPlugin()
    driver = plugin.driver(open_run(tmp_path / "run", manager(dia=plugin)))
    assert driver is not None
    assert driver.weights.excluded is not None
    assert driver.weights.excluded.tolist() == [1, 5]


def test_a_plan_reads_the_list(tmp_path: Path) -> None:
    config = points_config()
    config.RUN.sampler = NAME
    plugins = manager(dia=DiaPlugin())
    file = tmp_path / "list.txt"
    file.write_text("1\n5\n")
    options = plugins.options.resolve({NAME: {"record_every": 1, "exclude": str(file)}})
    assert f"2 samples of {file}" in describe_plan(config, plugins, options, "test", tmp_path)
    file.write_text("200")
    with pytest.raises(UserError, match="'200', which"):
        describe_plan(config, plugins, options, "test", tmp_path)


def test_an_exported_table_is_a_list(tmp_path: Path) -> None:
    fit(tmp_path / "run", "", steps=20, aux="none")
    diagnosis = load_diagnosis(tmp_path / "run")
    table = write_export(diagnosis, tmp_path / "part.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[8], lines[3]]) + "\n")
    points = ArrayDataset("points", np.zeros((200, 2), np.float32))
    assert read_listed(table, points).tolist() == [2, 7]
