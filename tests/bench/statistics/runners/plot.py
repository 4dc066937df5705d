"""Scatter of our delay against the best peer's, one point a change."""

import matplotlib.pyplot as plt
from stepping import main


def answer(_, options):
    figure, axes = plt.subplots(figsize=(5, 4), dpi=80)
    for label, points in options["series"].items():
        axes.scatter([p[0] for p in points], [p[1] for p in points], s=22, label=label)
    axes.plot([1, 200], [1, 200], color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="best peer, steps of 100 requests", ylabel="OnGuard, steps")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(options["file"], metadata={"Software": None})
    return {}


main(answer)
