"""A check as one HTML file: nothing is loaded from elsewhere, plots are inline SVG."""

import html
import io
from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from onguard.batch import Seen
from onguard.cli.checked import Checked, event_text, sentences
from onguard.profile import Feature

MAX_PLOTS: Final = 100
_MAX_NAME: Final = 14
_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d8dee4}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.moved td:first-child{font-weight:600;color:#b3261e}
h1 .quiet{color:#1a7f37}h1 .found{color:#b3261e}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}
"""
_REFERENCE, _BATCH, _MOVED = "#8c959f", "#0969da", "#b3261e"


def page(seen: Checked) -> str:
    """The whole document; every text of the data is escaped."""
    tone = "quiet" if seen.is_quiet else "found"
    head = f"{html.escape(seen.file)}: <span class={tone}>{html.escape(seen.verdict)}</span>"
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in sentences(seen))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>OnGuard: {html.escape(seen.file)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{head}</h1>"
        f"<p>{seen.report.rows:,} rows against {seen.profile.rows:,} rows of reference {seen.profile.hash} "
        f"({html.escape(seen.profile.source)})</p><ul>{lines}</ul>{_errors(seen)}{_table(seen)}{''.join(_plots(seen))}</body></html>\n"
    )


def _errors(seen: Checked) -> str:
    """Score bin by score bin: how many rows, and how many of them are wrong."""
    found = seen.performance
    if found.baseline is None or found.estimate is None:
        return ""
    edges, old, new = found.baseline.edges, found.baseline.errors, found.errors
    names = [f"up to {edge:.3g}" for edge in edges] + [f"over {edges[-1]:.3g}" if edges.size else "all"]
    mix = found.scored / max(found.scored.sum(), 1.0)
    wrong = new.rates if new is not None else np.full(old.rates.shape, np.nan)
    rows = "".join(
        f"<tr><td>{name}</td>" + "".join(f'<td class="n">{_percent(v)}</td>' for v in values) + "</tr>"
        for name, *values in zip(names, old.mix, mix, old.rates, wrong, strict=True)
    )
    heads = ("score", "rows, reference", "rows, batch", "wrong, reference", "wrong, batch")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<h2>Errors at equal scores</h2><table><tr>{head}</tr>{rows}</table>"


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"


def _table(seen: Checked) -> str:
    names = ("PSI", "KS", "W1", "JS")
    head = "".join(f"<th>{name}</th>" for name in ("feature", "found", "missing", *names))
    rows = "".join(_row(one) for one in seen.report.features)
    return f"<h2>Features</h2><p>Distance / what sampling alone explains.</p><table><tr>{head}</tr>{rows}</table>"


def _row(one: Seen) -> str:
    d = one.distances
    pairs = [
        f"{x.value:.3f} / {x.critical:.3f}" if x else "" for x in ((d.psi, d.ks, d.w1, d.js) if d else (None,) * 4)
    ]
    found = "<br>".join(html.escape(event_text(f)) for f in one.found[:3])
    numbers = "".join(f'<td class="n">{text}</td>' for text in (f"{one.missing:.2%}", *pairs))
    return f'<tr class="{"moved" if one.found else ""}"><td>{html.escape(one.name)}</td><td>{found}</td>{numbers}</tr>'


def _plots(seen: Checked) -> Iterator[str]:
    """Those that moved first, up to ``MAX_PLOTS``."""
    features = {feature.name: feature for feature in seen.profile.features}
    order = sorted(seen.report.features, key=lambda one: not one.found)
    yield "<h2>Distributions</h2>"
    for one in order[:MAX_PLOTS]:
        caption = "moved" if one.found else "within its limits"
        plot = _svg(features[one.name], one)
        yield f"<figure>{plot}<figcaption>{html.escape(one.name)}: {caption}</figcaption></figure>"
    if len(order) > MAX_PLOTS:
        yield f"<p>{len(order) - MAX_PLOTS} more features are in the table only.</p>"


def _svg(feature: Feature, one: Seen) -> str:
    reference, live = np.array(feature.counts, np.float64), np.array(one.live, np.float64)
    used = (reference > 0) | (live > 0)
    names = [name for name, is_used in zip(feature.bin_names, used, strict=True) if is_used]
    at = np.arange(len(names))
    # Text as text, and no random ids: the same batch gives the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "onguard", "font.size": 9}):
        figure = Figure(figsize=(9.0, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for offset, counts, color, label in (
            (-0.2, reference, _REFERENCE, "reference"),
            (0.2, live, _MOVED if one.found else _BATCH, "batch"),
        ):
            axes.bar(at + offset, counts[used] / max(counts.sum(), 1.0), 0.4, color=color, label=label)
        axes.set_xticks(at, [_short(name) for name in names], rotation=45, ha="right", parse_math=False)
        axes.set_ylabel("share of rows")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"
