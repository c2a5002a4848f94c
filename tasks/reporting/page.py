"""Templates to HTML that opens from disk: everything escaped, nothing fetched, no script."""

from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """Fill a template of tasks/reporting/templates. All is escaped but `Markup` of our own making."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = link
    return environment.get_template(template).render(style=Markup(_source("style.css")), **values)


def link(path: str) -> str:
    """A relative file name as a link that can be nothing else: no scheme, no host."""
    return "./" + quote(path.lstrip("/"), safe="/.")


def write(path: Path, html: str) -> None:
    """Write a page, UTF-8 with plain line ends."""
    path.write_text(html, encoding="utf-8", newline="\n")


def _source(name: str) -> str:
    return (resources.files("tasks.reporting") / "templates" / name).read_text(encoding="utf-8")
