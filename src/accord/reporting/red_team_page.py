"""The page of one red-team run that is not part of a pipeline: `report.html` in its directory."""

from pathlib import Path

from accord.core import files
from accord.core.errors import AccordError
from accord.core.run_dir import RunDir
from accord.reporting.page import render_template
from accord.reporting.red_team import STAGE, red_team_of
from accord.reporting.run_files import read_step


def is_red_team(directory: Path) -> bool:
    """Whether a directory is that of one red-team step, and not of a pipeline."""
    manifest = RunDir(directory).read_json("manifest.json") if directory.is_dir() else None
    return manifest is not None and manifest.get("stage") == STAGE


def write_red_team_page(directory: Path) -> Path:
    """Write the page of a finished step; returns its path.

    Raises:
        AccordError: there is no finished red team in the directory.
    """
    found = red_team_of(read_step(directory.parent, directory), "only")
    if found is None:
        raise AccordError(f"{directory}: no finished red team; run `accord redteam` again")
    page = render_template("red_team.html.jinja", red_teams=[found])
    path = directory / "report.html"
    files.write_text(path, page)
    return path
