"""Reads a dataset's own options (`DATA.options`) into a validated model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from gan_registry.errors import UserError, unknown_name


class Options(BaseModel):
    """Base of all dataset options.

    The description of a field completes the sentence "option … must be …".
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    seed: int = Field(0, ge=0, description="an integer from 0 on")


Model = TypeVar("Model", bound=Options)


def read_options(model: type[Model], dataset: str, values: Mapping[str, Any]) -> Model:
    """Validates `DATA.options` of a dataset by their model.

    Raises:
        UserError: An option is unknown (the message lists the known ones and the nearest match) or
            has a value that is not allowed (the message names option, value and what is allowed).
    """
    try:
        return model.model_validate(dict(values))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        option = str(problem["loc"][0]) if problem["loc"] else ""
        if option not in model.model_fields:
            where = f"DATA.options of the dataset {dataset!r}"
            raise unknown_name("option", option, model.model_fields, where) from error
        raise bad_option(model, dataset, option, values[option]) from error


def bad_option(model: type[Options], dataset: str, option: str, value: object) -> UserError:
    """Builds the error for a value that the description of its option does not allow."""
    allowed = model.model_fields[option].description
    return UserError(
        f"Option DATA.options.{option} of the dataset {dataset!r} must be {allowed}, "
        f"but got {value!r}."
    )


def check_image_size(dataset: str, supported: tuple[int, ...], size: int) -> None:
    """Raises a UserError for an image size that a dataset does not come in."""
    if size not in supported:
        raise UserError(
            f"The dataset {dataset!r} comes in {', '.join(map(str, supported))} px; set "
            f"DATA.img_size to one of these, not {size}."
        )
