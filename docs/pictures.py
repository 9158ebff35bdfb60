"""Makes the pictures of docs/report.md of a run's report: `python docs/pictures.py RUN`.

A picture a section, as a headless Chromium shows it; of long ones the beginning.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent / "images"
WIDTH, HEIGHT, SHOWN = 900, 2000, 800
WITHOUT = {"run", "metrics", "losses", "explanation", "config"}  # texts and tables without surprise


def main(run: Path) -> None:
    """Writes `images/report-SECTION.png` for each section of the report of a run.

    Raises:
        SystemExit: There is no Chromium.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("This needs Chromium or Chrome.")
    page = (run / "report.html").read_text(encoding="utf-8")
    head, tail = page[: page.index("<header>")], "</body></html>"
    sections = re.findall(r'(<section id="([\w-]+)">.*?</section>)', page, re.DOTALL)
    for section, anchor in sections:
        if anchor in WITHOUT:
            continue
        with tempfile.TemporaryDirectory() as folder:
            shown, shot = Path(folder, "page.html"), Path(folder, "shot.png")
            shown.write_text(f"{head}<main>{section}</main>{tail}", encoding="utf-8")
            subprocess.run(
                [
                    browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                    f"--window-size={WIDTH},{HEIGHT}", f"--user-data-dir={folder}/browser",
                    f"--screenshot={shot}", shown.as_uri(),
                ],
                check=True, capture_output=True,
            )  # fmt: skip
            picture = Image.open(shot).convert("RGB")
            pixels = np.asarray(picture).astype(int)
            rows = np.flatnonzero(np.abs(pixels - pixels[-1, -1]).sum(2).any(1))
            cut = picture.crop((0, 0, WIDTH, min(rows.max() + 16, SHOWN)))
            colours = cut.quantize(128, dither=Image.Dither.NONE)
            colours.save(FOLDER / f"report-{anchor}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
