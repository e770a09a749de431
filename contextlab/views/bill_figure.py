"""The bill as a picture: our count of every published figure over what is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from contextlab.costs import BILLS, lines
from contextlab.costs.bill import WITHOUT_LINES

from .figures import log_ticks, new_figure, styled
from .palette import FAINT, INK, QUIET

#: strong matches are blue and green, weak ones orange and purple, what does not match is dark
GRADES = {
    "predicted": "#0072B2",
    "selected": "#56B4E9",
    "fitted": "#009E73",
    "not reproducible": "#D55E00",
    "misprint?": "#4d4d4d",
}
SHAPES = {"FLOPs": "o", "parameters": "s", "memory": "D", "contexts a pixel": "^"}
TABLES = tuple(name for name in BILLS if name not in WITHOUT_LINES)


@styled
def bill_figure(
    tables: Sequence[str] = TABLES,
) -> tuple[Figure, dict[str, dict[tuple[str, str], tuple[float, str, bool]]]]:
    """A row for each row of the tables, a dot for each printed figure: ours / published.

    The axis is logarithmic; the colour is the grade, the shape what was counted. A figure that is
    printed as 0, or whose count has another sign, has no ratio and no dot.

    Args:
        tables: names of `costs.BILLS` whose rows are single figures.

    Returns:
        the figure, and for each table (row, column) to (ratio, grade, whether ours prints alike).

    Raises:
        ValueError: a table without such figures, or no table.
    """
    if not tables:
        raise ValueError(f"expected tables of {', '.join(TABLES)}, got none")
    numbers = {
        table: {
            (line.row, line.column): (
                line.ours / line.published,
                line.grade.partition(" (")[0],  # without the number of readings
                line.prints_alike,
            )
            for line in lines(table)
            if line.ours and line.published and line.ours / line.published > 0
        }
        for table in tables
    }
    rows = {table: list(dict.fromkeys(row for row, _ in found)) for table, found in numbers.items()}
    count = sum(map(len, rows.values())) + len(rows)
    figure = new_figure(0.21 * count + 1.15)
    axes = figure.subplots()
    axes.axvline(1, color=INK, linewidth=0.9, zorder=1)
    y, ticks = 0, []
    for table, names in rows.items():
        style = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        place = {"xycoords": ("axes fraction", "data"), "fontweight": "bold", "fontsize": 9.5}
        axes.annotate(table, (0, y), **style, **place)
        for name in names:
            y += 1
            ticks.append((y, name))
            axes.axhline(y, color=FAINT, linewidth=0.6, zorder=0)
            found = [(c, n) for (row, c), n in numbers[table].items() if row == name]
            for at, (column, (ratio, grade, _)) in enumerate(found):
                axes.plot(
                    ratio, y + 0.22 * (at - (len(found) - 1) / 2), _shape(column),
                    color=GRADES[grade], markersize=5, markeredgecolor="white",
                    markeredgewidth=0.5, zorder=3,
                )  # fmt: skip
        y += 1
    axes.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(y - 0.4, -0.6)
    axes.set_xscale("log")
    log_ticks(axes.xaxis)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("ours / published")
    seen = {grade for found in numbers.values() for _, grade, _ in found.values()}
    shapes = {_shape(column) for found in numbers.values() for _, column in found}
    handles = [_dot("o", colour, grade) for grade, colour in GRADES.items() if grade in seen]
    handles += [_dot(shape, "none", what) for what, shape in SHAPES.items() if shape in shapes]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure, numbers


def bill_in_words(numbers: dict[str, dict[tuple[str, str], tuple[float, str, bool]]]) -> str:
    """What the figure shows, for those who do not see it.

    Args:
        numbers: what `bill_figure` returned.
    """
    parts = ["Our counts over the published ones, a dot a figure."]
    for table, found in numbers.items():
        alike = sum(alike for _, _, alike in found.values())
        grades = Counter(grade for _, grade, _ in found.values())
        words = ", ".join(f"{n} {grade}" for grade, n in grades.most_common())
        far = [
            f"{row}, {column}: {ratio:.2f}"
            for (row, column), (ratio, _, same) in found.items()
            if abs(ratio - 1) > 0.1 and not same
        ]
        parts.append(
            f"{table}: {alike} of {len(found)} print alike ({words})"
            + (f"; further off than 10 %: {'; '.join(far)}." if far else ".")
        )
    return " ".join(parts)


def _shape(column: str) -> str:
    return SHAPES[column.partition(" (")[0]]


def _dot(shape: str, colour: str, label: str) -> Line2D:
    edge = QUIET if colour == "none" else colour
    style = {"markerfacecolor": colour, "markeredgecolor": edge, "markersize": 6}
    return Line2D([], [], marker=shape, linestyle="", label=label, **style)
