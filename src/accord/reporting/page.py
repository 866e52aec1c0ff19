"""Templates of pages, and how they show text, times and scores."""

import math
import unicodedata
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def render_template(name: str, **values: Any) -> str:
    """A page as HTML; everything is escaped, and a name that is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "duration": duration,
        "moment": moment,
        "figure": figure,
    }
    page = environment.get_template(name).render(values)
    # A path may hold bytes that are no text; the page shows them as escapes.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: Any) -> Markup:
    """Text for the page: escaped, with characters that would hide or reorder it shown by name."""
    shown = []
    for character in str(text):
        category = unicodedata.category(character)
        if character in "\n\t" or category not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}:
            shown.append(Markup.escape(character))
            continue
        shown.append(Markup('<span class="control">U+{:04X}</span>').format(ord(character)))
    return Markup("").join(shown)


def duration(seconds: float | None) -> str:
    """Wall time as people say it."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(text: str) -> str:
    """An ISO time as date and minute, UTC."""
    try:
        return datetime.fromisoformat(text).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    except ValueError:
        return text


def figure(value: float) -> str:
    """A score beside a response."""
    return f"{value:.2f}".replace("-", "−") if math.isfinite(value) else "–"
