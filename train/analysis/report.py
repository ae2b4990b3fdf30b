"""The analysis as one HTML file with the pictures in it: opens anywhere, fetches nothing, and fits a phone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape

import numpy as np

from train.analysis.analyse import OPEN_FARS, Analysis
from train.analysis.recognition import Rate

STYLE = """
:root{--ink:#1d2733;--quiet:#5d6b7a;--line:#dfe4ea;--paper:#f5f6f8;--card:#fff;--accent:#b3202c}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.7rem;line-height:1.2;margin:.4em 0 .2em}
h2{font-size:1.12rem;margin:0 0 .35em}
p{margin:.35em 0}
.quiet{color:var(--quiet);font-size:.92rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tile b{display:block;font-size:1.55rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{display:block;font-size:.84rem;color:var(--quiet)}
.tile.warn b{color:var(--accent)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:16px;align-items:start}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}
.wide{grid-column:1/-1}
img{display:block;width:100%;max-width:640px;height:auto;margin:8px auto 0}
.wide img{max-width:760px}
.scroll{overflow-x:auto;margin-top:8px}
table{border-collapse:collapse;font-size:.82rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:right;white-space:nowrap}
th{font-weight:600;color:var(--quiet)}
tbody th{position:sticky;left:0;background:var(--card);text-align:left}
td.near{color:#fff;background:var(--accent);font-weight:600}
.figures td,.figures th{font-size:.92rem;border-bottom:1px solid var(--line)}
.figures{width:100%}
.figures th:first-child{white-space:normal;padding-left:0}
@media(max-width:30rem){.card{padding:14px 12px}.figures td,.figures th{font-size:.8rem;padding:5px 4px}}
ul{padding-left:1.1em;margin:.3em 0}
footer{margin-top:22px}
"""


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} %"


def _interval(rate: Rate) -> str:
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f} %, of {rate.count}"


def _tile(value: str, what: str, more: str, warn: bool = False) -> str:
    return (
        f'<div class="tile{" warn" if warn else ""}"><span>{escape(what)}</span><b>{value}</b>'
        f"<span>{escape(more)}</span></div>"
    )


def _card(title: str, text: str, body: str, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}"><h2>{escape(title)}</h2><p class="quiet">{text}</p>{body}</section>'


def _table(head: str, body: str, kind: str = "") -> str:
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _image(pictures: Mapping[str, bytes], name: str, alternative: str) -> str:
    data = base64.b64encode(pictures[name]).decode("ascii")
    return f'<img alt="{escape(alternative, quote=True)}" src="data:image/png;base64,{data}">'


def _medoid_rows(a: Analysis) -> str:
    shown = a.shown
    names = [escape(a.people.names[n]) for n in shown]
    head = "".join(f"<th>{name}</th>" for name in names)
    between = a.table[np.ix_(shown, shown)]
    rows = []
    for i, person in enumerate(shown):
        cells = []
        for j, other in enumerate(shown):
            if i == j:
                cells.append("<td>–</td>")
                continue
            near = person in a.group and other in a.group
            # The closer, the darker: 0.6 and below is full, √2 (nothing in common) is none.
            shade = float(np.clip((1.42 - between[i, j]) / 0.8, 0, 1)) * 0.5
            style = "" if near else f' style="background:rgba(66,105,208,{shade:.2f})"'
            cells.append(f"<td{' class=near' if near else style}>{between[i, j]:.2f}</td>")
        rows.append(f"<tr><th>{names[i]}</th>{''.join(cells)}</tr>")
    return _table(f"<th></th>{head}", "".join(rows))


def _figure_rows(a: Analysis) -> str:
    rows = [(f"rank-1, {method}", naming.rank1) for method, naming in a.naming.items()]
    inside = a.naming["medoid"].among(a.group)
    if inside is not None:
        rows.append(("confused inside " + ", ".join(a.people.names[n] for n in a.group), inside))
    rows += [(f"TAR at FAR {far:g}", rate) for far, rate in a.verification.tar.items()]
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{_percent(r)}</td><td>{100 * r.low:.1f}–{100 * r.high:.1f}</td>"
        f"<td>{r.count}</td></tr>"
        for name, r in rows
    )
    for far in OPEN_FARS:
        value, threshold = a.curve.at(far)
        at = f"cosine ≥ {threshold:.3f}" if np.isfinite(threshold) else "nobody named"
        body += f"<tr><th>DIR at FAR {far:g}</th><td>{100 * value:.1f} %</td><td colspan=2>{at}</td></tr>"
    body += f"<tr><th>area under ROC</th><td>{a.verification.roc.area:.4f}</td><td></td><td></td></tr>"
    return _table("<th></th><th>value</th><th>95 %</th><th>of</th>", body, "figures")


def html(a: Analysis, pictures: Mapping[str, bytes]) -> str:
    """The report.

    Args:
        a: the analysis.
        pictures: PNG files by name, from `train.analysis.analyse.pictures`.
    """
    names = a.people.names
    group = ", ".join(names[n] for n in a.group)
    inside = a.naming["medoid"].among(a.group)
    rank1 = a.naming["medoid"].rank1
    between = a.table[np.triu_indices(len(names), 1)]
    first, last = next(iter(a.verification.tar.items())), list(a.verification.tar.items())[-1]
    tiles = [
        _tile(_percent(rank1), "Rank-1, medoid", _interval(rank1)),
        _tile(_percent(first[1]), f"TAR at FAR {100 * first[0]:g} %", _interval(first[1])),
        _tile(_percent(last[1]), f"TAR at FAR {100 * last[0]:g} %", _interval(last[1])),
        _tile(f"{100 * a.curve.at(0.01)[0]:.1f} %", "Known people named", "with 1 % of strangers named too"),
    ]
    if inside is not None:
        tiles.append(_tile(_percent(inside), "Confused inside the closest trio", group, warn=inside.value > 0))
    methods = "; ".join(f"{m} {_percent(n.rank1)}" for m, n in a.naming.items())
    cards = [
        _card(
            "t-SNE",
            f"Every point is a photo; near points are neighbours. Perplexity {a.map.perplexity:.0f}, at most "
            f"{a.map.iterations} iterations. Sizes of clusters and distances between them mean nothing.",
            _image(pictures, "tsne", f"t-SNE plot of {len(a.people.people)} photos of {len(names)} people"),
        ),
        _card(
            "Distances within a person",
            "Between all pairs of a person's photos. Boxes hold the middle half, whiskers reach 1.5 times as far. "
            f"The red line is the smallest distance between two people's medoids, {between.min():.2f}: "
            "what reaches past it may be nearer to somebody else.",
            _image(pictures, "boxplots", "Boxplots of within-person Euclidean distances"),
        ),
        _card(
            "Distances between people",
            "<b>Euclidean</b> distance between the people's medoids, unit vectors: 0 to 2, about 1.41 for two who have "
            f"nothing in common; <b>not squared</b>. In red the closest: {escape(group)}.",
            _medoid_rows(a),
            wide=True,
        ),
        _card(
            "Same person or not",
            f"Over {a.verification.same:,} pairs of one person and {a.verification.different:,} of two; area under the "
            f"curve {a.verification.roc.area:.4f}. The dashed line is chance.",
            _image(pictures, "roc", "Verification ROC curve"),
        ),
        _card(
            "Known people among strangers",
            "Every photo is named once with its person enrolled, and once as a stranger's, its person taken out of the "
            "gallery.",
            _image(pictures, "open_set", "Open-set identification: DIR against FAR"),
        ),
        _card(
            "Who is taken for whom",
            f"Nearest medoid; rank-1 by prototype: {escape(methods)}. In red the closest people and every confusion.",
            _image(pictures, "confusion", "Confusion matrix"),
        ),
        _card("Figures", "With 95 % bootstrap intervals over photos.", _figure_rows(a)),
    ]
    if a.sequence is not None:
        cards.insert(
            1,
            _card(
                f"During the training: {a.sequence.title}",
                "t-SNE of the same photos after so many samples. Every map begins where the one before it ended.",
                _image(pictures, "sequence", "Sequence of t-SNE plots during the training"),
                wide=True,
            ),
        )
    notes = "".join(f"<li>{escape(note)}</li>" for note in a.notes)
    more = f'<section class="card wide"><h2>Notes</h2><ul>{notes}</ul></section>' if notes else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(a.source)} – embeddings</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(a.source)}</h1>"
        f'<p class="quiet">{len(a.people.people)} photos of {len(names)} people, embedded by {escape(a.embedder)}. '
        f"{escape(a.how)}</p>"
        f'<div class="tiles">{"".join(tiles)}</div><div class="cards">{"".join(cards)}{more}</div>'
        '<footer class="quiet">Embeddings are biometric data; so is this page.</footer></main></body></html>\n'
    )
