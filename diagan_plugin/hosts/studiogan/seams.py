"""Where the adapter meets StudioGAN: the attributes it replaces, and what it expects of them.

All are verified by reading the checkout's source, before anything of it is imported or replaced: a
version whose seams differ is refused by the name of the seam, and never half-patched. Free of
torch.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path

from diagan_plugin.hosts.studiogan import COMMIT
from gan_registry.errors import UserError

_GENERATE = (
    "z_prior truncation_factor batch_size z_dim num_classes y_sampler radius generator "
    "discriminator is_train LOSS RUN MODEL device is_stylegan generator_mapping "
    "generator_synthesis style_mixing_p stylegan_update_emas cal_trsp_cost"
)
_LOAD = (
    "ckpt_dir load_best Gen Dis g_optimizer d_optimizer run_name apply_g_ema Gen_ema ema is_train "
    "RUN logger global_rank device cfg_file"
)
_STYLE = (
    "zs fake_labels num_classes style_mixing_p update_emas generator_mapping generator_synthesis "
    "truncation_psi truncation_cutoff"
)


@dataclass(frozen=True)
class Seam:
    """An attribute of one of StudioGAN's modules, and how StudioGAN reaches it.

    Attributes:
        module: The module, e.g. "utils.sample".
        attribute: The attribute, e.g. "generate_images" or "WORKER.save".
        parameters: Its parameters, separated by spaces; None for a name that the module imports.
        callers: `file: expression` of calls that must be there, as only an attribute that is
            looked up when it is called can be replaced.
        keywords: Keywords that one of these calls must carry.
        assigns: Attributes of `self` that the class must set.
        replaced: Whether the adapter replaces it; otherwise it is only used.
    """

    module: str
    attribute: str
    parameters: str | None
    callers: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    assigns: tuple[str, ...] = ()
    replaced: bool = True

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.module}.{self.attribute}"


SEAMS = (
    Seam(
        "loader", "load_worker", "local_rank cfgs gpus_per_node run_name hdf5_path",
        ("main.py: loader.load_worker",),
    ),
    Seam("loader", "DataLoader", None, ("loader.py: DataLoader",),
         ("dataset", "batch_size", "shuffle", "sampler", "drop_last", "persistent_workers")),
    Seam("config", "Configurations.define_losses", "self",
         ("worker.py: self.cfgs.define_losses", "worker.py: self.LOSS.d_loss",
          "worker.py: self.LOSS.g_loss")),
    Seam(
        "models.model", "load_generator_discriminator",
        "DATA OPTIMIZATION MODEL STYLEGAN MODULES RUN device logger",
        ("loader.py: model.load_generator_discriminator",),
    ),
    Seam("worker", "WORKER.prepare_train_iter", "self epoch_counter",
         ("loader.py: worker.prepare_train_iter",)),
    Seam("worker", "WORKER.sample_data_basket", "self", ("worker.py: self.sample_data_basket",)),
    Seam("worker", "WORKER.train_discriminator", "self current_step",
         ("loader.py: worker.train_discriminator",)),
    Seam("worker", "WORKER.train_generator", "self current_step",
         ("loader.py: worker.train_generator",)),
    Seam("worker", "WORKER.log_train_statistics",
         "self current_step real_cond_loss gen_acml_loss dis_acml_loss",
         ("loader.py: worker.log_train_statistics",)),
    Seam("worker", "WORKER.save", "self step is_best", ("loader.py: worker.save",)),
    Seam("utils.sample", "sample_zy",
         "z_prior batch_size z_dim num_classes truncation_factor y_sampler radius device",
         ("utils/sample.py: sample_zy",)),
    Seam("utils.sample", "generate_images", _GENERATE,
         ("worker.py: sample.generate_images",)),
    Seam("utils.apa_aug", "apply_apa_aug", "real_images fake_images apa_p local_rank",
         ("worker.py: apa_aug.apply_apa_aug",)),
    Seam("utils.ckpt", "load_StudioGAN_ckpts", _LOAD, ("loader.py: ckpt.load_StudioGAN_ckpts",)),
    Seam("utils.ckpt", "load_best_model", "ckpt_dir Gen Dis apply_g_ema Gen_ema ema",
         ("loader.py: ckpt.load_best_model",)),
    Seam("main", "torch", None, ("main.py: torch.multiprocessing.spawn",)),
    # Used, not replaced.
    Seam("utils.sample", "stylegan_generate_images", _STYLE, replaced=False),
    Seam("utils.misc", "peel_model", "model", replaced=False),
    Seam("data_util", "Dataset_.__getitem__", "self index", assigns=("trsf", "trsf_list"),
         replaced=False),
)  # fmt: skip
"""All of them; `main.torch` stands for `torch.multiprocessing.spawn`, which main.py calls."""


def verify(checkout: Path) -> Path:
    """Checks that a folder is a checkout of StudioGAN with the seams that the adapter needs.

    Args:
        checkout: The checkout's top folder.

    Returns:
        Its folder `src`.

    Raises:
        UserError: There is no such folder, it is something else, or a seam differs; names it.
    """
    if not checkout.is_dir():
        raise UserError(f"--studiogan {checkout}: there is no such folder.")
    source = checkout.resolve() / "src"
    for name in ("main.py", "loader.py", "worker.py", "config.py"):
        if not (source / name).is_file():
            raise UserError(
                f"--studiogan {checkout} is no checkout of PyTorch-StudioGAN: it has no src/{name}."
            )
    trees: dict[str, ast.Module] = {}
    for seam in SEAMS:
        wrong = _wrong(seam, source, trees)
        if wrong:
            raise UserError(
                f"This StudioGAN differs at the seam {seam.name}: {wrong}. Nothing was changed or "
                f"run; use a checkout of commit {COMMIT}."
            )
    return source


def _wrong(seam: Seam, source: Path, trees: dict[str, ast.Module]) -> str | None:
    """Says what is not as expected at a seam, as the end of a sentence, or None."""
    tree = _parsed(source, f"{seam.module.replace('.', '/')}.py", trees)
    if tree is None:
        return f"there is no readable module {seam.module}"
    if seam.parameters is None:
        if seam.attribute not in _imported(tree):
            return f"{seam.module} imports no {seam.attribute}"
    else:
        function = _function(tree, seam.attribute)
        if function is None:
            return "it does not exist"
        found = _parameters(function)
        if found != seam.parameters.split():
            expected = ", ".join(seam.parameters.split())
            return f"it takes ({', '.join(found)}) where ({expected}) is expected"
    for caller in seam.callers:
        file, _, expression = caller.partition(": ")
        calls = _uses(_parsed(source, file, trees), expression)
        if not calls:
            return f"{file} does not use {expression}"
        if seam.keywords and not any(set(seam.keywords) <= keywords for keywords in calls):
            return f"no call in {file} has the keywords {', '.join(seam.keywords)}"
    owner = seam.attribute.partition(".")[0]
    for name in seam.assigns:
        if name not in _assigned(tree, owner):
            return f"{owner} sets no {name}"
    return None


def _parsed(source: Path, file: str, trees: dict[str, ast.Module]) -> ast.Module | None:
    if file not in trees:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in StudioGAN's help texts
                trees[file] = ast.parse((source / file).read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            return None
    return trees[file]


def _imported(tree: ast.Module) -> set[str]:
    return {
        (alias.asname or alias.name).partition(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def _function(tree: ast.Module, path: str) -> ast.FunctionDef | None:
    body: list[ast.stmt] = tree.body
    *owners, name = path.split(".")
    for owner in owners:
        classes = [n for n in body if isinstance(n, ast.ClassDef) and n.name == owner]
        if not classes:
            return None
        body = classes[-1].body
    functions = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == name]
    return functions[-1] if functions else None


def _parameters(function: ast.FunctionDef) -> list[str]:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args)]
    names += [f"*{given.vararg.arg}"] if given.vararg else []
    names += [a.arg for a in given.kwonlyargs]
    return names + ([f"**{given.kwarg.arg}"] if given.kwarg else [])


def _uses(tree: ast.Module | None, expression: str) -> list[set[str]]:
    """Returns the keywords of each call of an expression, an empty set where it is handed on."""
    if tree is None:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == expression:
            found.append({keyword.arg for keyword in node.keywords if keyword.arg})
        elif isinstance(node, ast.keyword) and ast.unparse(node.value) == expression:
            found.append(set())
    return found


def _assigned(tree: ast.Module, owner: str) -> set[str]:
    return {
        node.attr
        for cls in tree.body
        if isinstance(cls, ast.ClassDef) and cls.name == owner
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
