"""What mkdocs is told beside mkdocs.yml, so that the pages stay plain files that GitHub shows too.

Pages of the top folder and notebooks become pages of the site, the reference is made of the public
names, links lead to where a page now is, and headings have the anchors that GitHub gives them.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
PLACES = {
    "README.md": "index.md",
    "docs/README.md": "pages.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "SECURITY.md": "report-security.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "results.md",
}
"""Files of the checkout → pages of the site; those of docs/ are where they are."""

PICTURES = "benchmarks/pictures"
"""The folder of pictures outside docs/; on the site they lie in one of its last name."""

FOR_PLUGINS = (
    "gan_registry.live_run", "gan_registry.hookspecs", "gan_registry.report.document",
    "gan_registry.seeding", "gan_registry.state_checks",
)  # fmt: skip
"""Modules that a plugin's author looks up."""


def on_config(config: Any) -> Any:
    """Gives headings the anchors that GitHub gives them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = lambda title, separator: re.sub(
        r"[^\w\- ]", "", title.lower()
    ).replace(" ", separator)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the top folder, and the reference."""
    from mkdocs.structure.files import File

    readme = files.get_file_from_path("README.md")
    assert readme is not None
    files.remove(readme)
    pages = {place: (ROOT / source).read_text("utf-8") for source, place in PLACES.items()}
    for package in ("registry/gan_registry", "diagan_plugin"):
        name = Path(package).name
        pages[f"api/{name}.md"] = _reference(name, _public_names(ROOT / package / "__init__.py"))
    pages["api/for_plugins.md"] = _reference("For authors of plugins", list(FOR_PLUGINS))
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        file = files.get_file_from_path(notebook.name)
        assert file is not None
        files.remove(file)
        pages[f"{notebook.stem}.md"], pictures = as_markdown(notebook)
        for name, picture in pictures.items():
            files.append(File.generated(config, name, content=picture))
    for path in sorted((ROOT / PICTURES).iterdir()):
        place = f"{Path(PICTURES).name}/{path.name}"
        files.append(File.generated(config, place, content=path.read_bytes()))
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files


def as_markdown(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook as a page, and the pictures in it by the names that the page gives them.

    A cell that begins with `%%bash` is a command. What a picture shows is said by `alt` in the
    metadata of its cell.
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        language = "bash" if text.startswith("%%bash\n") else "python"
        text = text.removeprefix("%%bash\n")
        parts.append(f"```{language}\n{text}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/png" in data:
                name = f"{notebook.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{cell['metadata']['alt']}]({name})")
            else:
                said = "".join(data["text/plain"]).rstrip()
                parts.append(f"```text\n{said}\n```")
    return "\n\n".join(parts) + "\n", pictures


def _public_names(init: Path) -> list[str]:
    """Returns the full names of what a package offers lazily, by name."""
    for node in ast.parse(init.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
            homes = ast.literal_eval(node.value)
            return [f"{homes[name]}.{name}" for name in sorted(homes, key=str.lower)]
    raise LookupError(f"{init} has no _HOME.")


def _reference(title: str, names: list[str]) -> str:
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)]) + "\n"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links to where a page now is; those to files that are no pages become plain text."""
    place = page.file.src_uri
    if place.startswith("api/"):
        return markdown
    source = next((s for s, p in PLACES.items() if p == place), f"docs/{place}")

    def lead(found: re.Match[str]) -> str:
        text, target = found.groups()
        name, _, anchor = target.partition("#")
        if "://" in target or not name:
            return found.group()
        wanted = os.path.normpath(os.path.join(os.path.dirname(source), name))
        site = PLACES.get(wanted, wanted.removeprefix("docs/").removeprefix("benchmarks/"))
        if site.endswith(".ipynb"):
            site = f"{site.removesuffix('.ipynb')}.md"
        generated = text.startswith("!") and "/" not in name  # a picture of a notebook
        there = wanted.startswith(("docs/", PICTURES)) and (ROOT / wanted).is_file()
        if wanted not in PLACES and not there:
            return found.group() if generated else text.strip("![]")
        way = os.path.relpath(site, os.path.dirname(place) or ".")
        return f"{text}({way}{'#' * bool(anchor)}{anchor})"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", lead, part) for part in parts[::2]]
    return "".join(parts)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses a page that would fetch anything from elsewhere when it is read."""
    from mkdocs.exceptions import PluginError

    fetched = (
        r"<(?:(?:script|img|iframe)\b[^>]*\ssrc|link\b[^>]*stylesheet[^>]*\shref)"
        r'="(?:https?:)?//[^"]*'
    )
    if found := re.search(fetched, output):
        raise PluginError(f"{page.file.src_uri} fetches {found.group()}")
    return output
