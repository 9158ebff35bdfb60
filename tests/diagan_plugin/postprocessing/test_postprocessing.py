"""The post-processors in the host: by name, with their options, in result and report."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diagan_plugin.driver import AUXILIARY
from diagan_plugin.plugin import DiaPlugin
from diagan_plugin.postprocessing import calibrated, fresh
from diagan_plugin.postprocessing.judge import Judge
from diagan_plugin.postprocessing.options import PostOptions, add_options, parse_settings
from diagan_plugin.postprocessing.plugin import PostprocessingPlugin
from diagan_plugin.postprocessing.report import add_calibration
from diagan_plugin.postprocessing.streaming import AcceptanceRateError
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.evaluation.sources import labelled_batches
from gan_registry.plugins import PluginManager
from gan_registry.report.document import Report
from gan_registry.report.write import write_report
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run

from .. import helpers  # noqa: F401
