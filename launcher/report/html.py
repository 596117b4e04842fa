"""Figures and names as the page shows them, and the few pieces of HTML that it is made of."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from framefleet.launcher.report.timeline import US

CUT_FROM, CUT_TAIL = 20, 10  # characters: of names that may be cut, and of their ends, which never are


def esc(text: object) -> str:
    """Text as it may stand anywhere in HTML; names of files are data, and need not even be characters."""
    return html.escape(str(text).encode("utf-8", "backslashreplace").decode())


def duration(us: float) -> str:
    """Microseconds for people: "12.3 s", "4 min 05 s", "3 h 20 min"."""
    seconds = us / US
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest_s:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def percent(share: float) -> str:
    """A share as "12.3 %"."""
    return f"{100 * share:.1f} %"


def size(count_bytes: float) -> str:
    """Bytes as "12.3 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count_bytes < 1000:
            return f"{count_bytes:,.0f} {unit}" if unit == "bytes" else f"{count_bytes:,.1f} {unit}"
        count_bytes /= 1000
    return f"{count_bytes:,.1f} TB"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. ``numeric``: to the right; ``wide``: left out where the page is narrow."""

    heading: str
    numeric: bool = True
    wide: bool = False

    @property
    def attribute(self) -> str:
        names = ["n"] * self.numeric + ["wide"] * self.wide
        return f' class="{" ".join(names)}"' if names else ""


def table(
    name: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, total: Sequence[str] = ()
) -> str:
    """A table whose cells are HTML already; the first of each row is its heading."""
    head = "".join(f'<th scope="col"{column.attribute}>{esc(column.heading)}</th>' for column in columns)
    body = "\n".join(_row(columns, row) for row in rows)
    if total:
        body += "\n" + _row(columns, total, ' class="total"')
    return (
        f'<div class="scroll"><table id="{esc(name)}"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(columns: Sequence[Column], cells: Sequence[str], attribute: str = "") -> str:
    first, *others = cells
    html_cells = "".join(
        f"<td{column.attribute}>{cell}</td>" for column, cell in zip(columns[1:], others, strict=True)
    )
    return f'<tr{attribute}><th scope="row">{first}</th>{html_cells}</tr>'


def key(colour: str) -> str:
    """The little square of a colour (the name of a property of the style sheet, without its dashes)."""
    return f'<span class="key" style="background:var(--{colour})"></span>'


def cut(name: str) -> str:
    """A name that loses its middle where there is no room for all: names of videos differ at both ends."""
    if len(name) <= CUT_FROM:
        return esc(name)
    head, tail = name[:-CUT_TAIL], name[-CUT_TAIL:]
    return f'<span class="cut" title="{esc(name)}"><span>{esc(head)}</span><span>{esc(tail)}</span></span>'


def card(title: str, *content: str, note: str = "") -> str:
    """A section of the page."""
    told = f'<p class="note">{note}</p>' if note else ""
    return f'<section class="card"><h2>{esc(title)}</h2>{told}\n' + "\n".join(content) + "</section>"
