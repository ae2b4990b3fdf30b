"""A timeline as an HTML page that needs nothing beside it: wide or narrow, light or dark, with or without a mouse."""

from __future__ import annotations

from html import escape

from stream.styles import Colour
from stream.timeline import Lane, Timeline
from stream.wording import clock, length

LATE = 0.92
"""Of the width; a time that stands further right is written to the left of its mark, in the place of the one before."""
BROAD = 0.5
"""Per cent of the width from which a bar has an edge; of a narrower one it would leave no colour."""

_STYLE = """
:root{color-scheme:light dark;--paper:#fafaf8;--ink:#1a1a1f;--quiet:#5c5c66;--lane:#ebebe8;--line:#c9c9c9;--edge:#0006}
@media(prefers-color-scheme:dark){
:root{--paper:#17181c;--ink:#ececf0;--quiet:#a3a3ad;--lane:#27282e;--line:#55565e;--edge:#fff5}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.4 system-ui,sans-serif}
main{max-width:88rem;margin:0 auto;padding:1.2rem 1rem 3rem}
h1{font-size:1.3rem;margin:0;overflow-wrap:anywhere}
p{margin:.2rem 0 1.2rem;color:var(--quiet)}
ol{list-style:none;margin:0;padding:0}
.row{display:grid;grid-template:"name lane numbers"/minmax(6rem,12rem) 1fr 9.5rem;gap:0 .8rem;align-items:center}
.row{margin:.7rem 0}
.name{grid-area:name;text-align:right;font-weight:600;overflow-wrap:anywhere}
.quiet .name,.numbers{color:var(--quiet);font-weight:400}
.numbers{grid-area:numbers;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.lane,.axis{grid-area:lane;position:relative;height:1.4rem}
.lane{background:var(--lane)}
.lane li{position:absolute;height:100%}
.lane .alone{min-width:1px}
.lane .thin{inset:0;pointer-events:none}
.thin svg{display:block;width:100%;height:100%}
.lane .broad{box-shadow:inset 0 0 0 1px var(--edge)}
.lane li:hover{filter:brightness(1.25)}
.axis{color:var(--quiet);font-size:.8rem}
.axis li{position:absolute;border-left:1px solid var(--line);padding:.35rem 0 0 .2rem;line-height:1}
.axis .late{padding:.35rem .2rem 0 0;border-left:0;border-right:1px solid var(--line);translate:-100%}
.scale{margin-top:-.5rem}
.spoken{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
details{margin-top:1.5rem}summary{cursor:pointer}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin-top:.5rem;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .8rem .2rem 0;text-align:right}
td:first-child,th:first-child{text-align:left}
thead th{color:var(--quiet);font-weight:400}
tbody th{font-weight:400}
@media(max-width:44rem){
.row{grid-template:"name numbers" "lane lane"/1fr auto;gap:.1rem .6rem}
.name{text-align:left}
.axis li:nth-child(even){display:none}}
"""


def page(drawn: Timeline) -> str:
    """The page. Pointing at a bar says what it is; so does the table at the end, to whoever cannot point."""
    title = escape(drawn.title)
    rows = "".join(_row(drawn, lane) for lane in drawn.lanes) or "<li>Nobody was found.</li>"
    shares = [drawn.share(seconds) for seconds in drawn.marks]
    marks = "".join(
        _mark(seconds, at, written=after <= LATE or at > LATE)
        for seconds, at, after in zip(drawn.marks, shares, [*shares[1:], 0.0], strict=True)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><main>\n<h1>{title}</h1>\n<p>{escape(drawn.subtitle)}</p>\n"
        f"<ol>\n{rows}{_row(drawn, drawn.shots)}"
        f'<li class="row scale" aria-hidden="true"><ol class="axis">{marks}</ol></li>\n</ol>\n'
        f"{_table(drawn)}</main></body></html>\n"
    )


def _row(drawn: Timeline, lane: Lane) -> str:
    bars, thin = "", dict[str, str]()
    for span, alone in zip(lane.spans, drawn.alone(lane), strict=True):
        left, width = 100 * drawn.share(span.start), 100 * (drawn.share(span.end) - drawn.share(span.start))
        title, colour = escape(span.title), _hex(span.colour)
        kind, back = ' class="broad"' if width >= BROAD else ' class="alone"' if alone else "", f";background:{colour}"
        if not kind:
            back, thin[colour] = "", f"{thin.get(colour, '')}M{left:.5f} 0h{width:.5f}v1h-{width:.5f}z"
        place = f"left:{left:.3f}%;width:{width:.3f}%{back}"
        bars += f'<li{kind} style="{place}" title="{title}"><span class="spoken">{title}</span></li>'
    if thin:  # browsers make each box a pixel wide at least; of shapes they draw as much as they cover
        shapes = "".join(f'<path fill="{colour}" d="{path}"/>' for colour, path in thin.items())
        bars += (
            '<li class="thin" aria-hidden="true">'
            f'<svg viewBox="0 0 100 1" preserveAspectRatio="none">{shapes}</svg></li>'
        )
    numbers = f'<span class="numbers">{escape(lane.numbers)}</span>' if lane.numbers else ""
    quiet = "" if lane.known else " quiet"
    name = f'<span class="name">{escape(lane.name)}</span>'
    return f'<li class="row{quiet}">{name}{numbers}<ol class="lane">{bars}</ol></li>\n'


def _mark(seconds: float, share: float, written: bool) -> str:
    late = ' class="late"' if share > LATE else ""
    words = clock(seconds) if written else "\N{NO-BREAK SPACE}"
    return f'<li{late} style="left:{100 * share:.3f}%">{words}</li>'


def _table(drawn: Timeline) -> str:
    """Every bar of every person in words."""
    rows = "".join(
        f'<tr><th scope="row">{escape(lane.name)}</th><td>{clock(span.start)}</td><td>{clock(span.end)}</td>'
        f"<td>{length(span.end - span.start)}</td></tr>\n"
        for lane in drawn.lanes
        for span in lane.spans
    )
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{word}</th>' for word in ("person", "from", "to", "length"))
    return (
        "<details><summary>Every take as a table</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div></details>\n'
    )


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{round(255 * value):02x}" for value in colour)
