"""report.html: one file that opens offline, without scripts, links or fonts from elsewhere."""

from html import escape
from importlib.resources import files
from pathlib import Path

from datm.errors import InputError
from datm.reporting.accuracy import accuracy_section
from datm.reporting.gallery import images_section
from datm.reporting.run_folder import read_run
from datm.reporting.sections import (
    SECTIONS,
    environment_section,
    header,
    matching_section,
    settings_section,
    teachers_section,
    verdict_section,
)
from datm.reporting.verdict import verdict
from datm.runtime.files import atomic_write

# tells the browser to load nothing at all, should a class name ever find a way to ask for it
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(run: Path | str) -> Path:
    """Write report.html into the run folder and return its path.

    An incomplete run gives a report of what there is, which says what is missing. Raises
    InputError where the folder holds no result, a file is broken or nothing can be written.
    """
    folder = read_run(Path(run))
    images, pictures = images_section(folder)
    bodies = {
        "verdict": verdict_section(folder, verdict(folder.records, folder.model)),
        "images": images,
        "accuracy": accuracy_section(folder),
        "matching": matching_section(folder),
        "teachers": teachers_section(folder),
        "settings": settings_section(folder),
        "environment": environment_section(folder),
    }
    sections = "".join(
        f'<section id="{key}">{f"<h2>{name}</h2>" if key != "verdict" else ""}{bodies[key]}'
        "</section>"
        for key, name in SECTIONS.items()
    )
    style = files("datm.reporting").joinpath("page.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(folder.name)}: dataset distillation report</title>"
        f"<style>{style}{pictures}</style></head>"
        f"<body>{header(folder)}<main>{sections}</main></body></html>\n"
    )
    target = folder.path / "report.html"
    try:
        atomic_write(target, page)
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); copy the run folder to report on it."
        ) from error
    return target
