"""Messages end with one full stop, also where they are put together."""

from __future__ import annotations

import pytest

from gan_registry.config.load import validate_config
from gan_registry.errors import UserError
from gan_registry.training.trainer import train

MISSING = ("CIFAR10", "CIFAR100", "MNIST", "CelebA", "colored_mnist", "mnist_fmnist")


@pytest.mark.parametrize("name", MISSING)
def test_missing_data_are_told_in_whole_sentences(name: str, tmp_path) -> None:
    config = validate_config(
        {"DATA": {"name": name, "img_size": 32, "path": str(tmp_path)},
         "MODEL": {"backbone": "mlp"}, "RUN": {"device": "cpu"}}, "the test's config",
    )  # fmt: skip
    with pytest.raises(UserError) as raised:
        train(config, quiet=True)
    message = str(raised.value)
    assert message.endswith(".")
    assert ".." not in message.replace("...", "")
