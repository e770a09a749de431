"""A profile as bars: the operators that a forward and a backward pass spend their time in."""

from __future__ import annotations

from matplotlib.figure import Figure

from contextlab.costs import Profile

from .figures import new_figure, styled
from .palette import series

HATCH = {"forward": "", "backward": "///"}  # a second cue beside the colour


@styled
def profile_figure(
    profile: Profile, *, most: int = 6, title: str = ""
) -> tuple[Figure, dict[str, dict[str, float]]]:
    """The longest operators of each pass, as shares of the whole time.

    Args:
        profile: of :func:`contextlab.costs.profile`.
        most: operators of each pass, the longest; the others are one bar.
        title: a line above.

    Returns:
        the figure, and pass to operator to its share of the time of all passes, 0 to 1.

    Raises:
        ValueError: ``most`` below 1.
    """
    rows = [row for row in profile.table(most).rows if row["operator"] != "total"]
    shares: dict[str, dict[str, float]] = {}
    for row in rows:
        shares.setdefault(row["pass"], {})[row["operator"]] = row["time share"]
    figure = new_figure(0.8 + 0.24 * (len(rows) + len(shares)))
    axes = figure.subplots()
    place, ticks = 0, {}
    for i, (direction, mine) in enumerate(shares.items()):
        for operator, share in mine.items():
            style = {"color": series(i), "hatch": HATCH[direction], "edgecolor": "white"}
            label = None if operator != next(iter(mine)) else _legend(direction, mine)
            axes.barh(place, 100 * share, 0.8, linewidth=0, label=label, **style)
            axes.annotate(
                f"{100 * share:.0f}",
                (100 * share, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
            ticks[place] = operator.replace("_for_cpu", "").strip("_")
            place += 1
        place += 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.invert_yaxis()
    axes.set_xlabel("share of the time of all operators (%)")
    axes.margins(x=0.1)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    figure.legend(loc="outside lower right", ncols=len(shares))
    if title:
        axes.set_title(title)
    return figure, shares


def _legend(direction: str, shares: dict[str, float]) -> str:
    return f"{direction}: {100 * sum(shares.values()):.0f} %"
