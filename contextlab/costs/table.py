"""A table of costs that prints, shows in a notebook, plots, and knows the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from contextlab.extras import need

Value = str | int | float | None


class Table:
    """Rows of named values, with the published figure and the relative error beside ours.

    Args:
        rows: one mapping of column to value a row; a missing or None value shows as a dash.
        published: the printed figures, one mapping (or None) a row; every column that has one is
            followed by its "published" and its "error" = (ours - published) / published.
        digits: significant digits of floating point values; whole numbers are shown in full.
        title: a line above the table.

    Raises:
        ValueError: no rows, unequal numbers of rows and published figures, or a published column
            that the table does not have.

    Example:
        >>> print(Table([{"block": "non-local", "GMACs": 48.3184}], published=[{"GMACs": 48.36}]))
        block      GMACs  published  error
        non-local  48.32      48.36  -0.1%
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Value]],
        *,
        published: Sequence[Mapping[str, float] | None] | None = None,
        digits: int = 4,
        title: str | None = None,
    ) -> None:
        self.rows = [dict(row) for row in rows]
        if not self.rows:
            raise ValueError("expected at least one row, got none")
        printed = [dict(p or {}) for p in (published or [None] * len(self.rows))]
        if len(printed) != len(self.rows):
            raise ValueError(f"expected {len(self.rows)} published rows, got {len(printed)}")
        self.columns = list(dict.fromkeys(key for row in self.rows for key in row))
        for key in (key for row in printed for key in row):
            if key not in self.columns:
                raise ValueError(f"expected a column of {self.columns}, got published {key!r}")
        self.published, self.digits, self.title = printed, digits, title

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[Value]:
        """The values of one column, None where a row has none."""
        if name not in self.columns:
            raise ValueError(f"expected a column of {self.columns}, got {name!r}")
        return [row.get(name) for row in self.rows]

    def errors(self, name: str) -> list[float | None]:
        """Relative errors of a column; None where nothing, or 0, was published."""
        pairs = zip(self.column(name), (row.get(name) for row in self.published))
        return [None if not p or v is None else (v - p) / p for v, p in pairs]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows as text."""
        columns: list[tuple[str, list[str]]] = []
        for name in self.columns:
            columns.append((name, [self._text(v) for v in self.column(name)]))
            if any(name in row for row in self.published):
                columns.append(("published", [self._text(row.get(name)) for row in self.published]))
                errors = ["–" if e is None else f"{e:+.1%}" for e in self.errors(name)]
                columns.append(("error", errors))
        return [name for name, _ in columns], [list(row) for row in zip(*(c for _, c in columns))]

    def __str__(self) -> str:
        head, body = self.cells()
        widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
        left = [self._is_text(name) for name in head]
        lines = []
        for row in [head, *body]:
            padded = (c.ljust(w) if a else c.rjust(w) for c, w, a in zip(row, widths, left))
            lines.append("  ".join(padded).rstrip())
        return "\n".join([self.title, *lines] if self.title else lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, body = self.cells()
        align = ["left" if self._is_text(name) else "right" for name in head]

        def line(tag: str, cells: list[str]) -> str:
            parts = (
                f'<{tag} style="text-align:{a}">{escape(c)}</{tag}>' for c, a in zip(cells, align)
            )
            return f"<tr>{''.join(parts)}</tr>"

        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        rows = "".join(line("td", row) for row in body)
        return f"<table>{caption}<thead>{line('th', head)}</thead><tbody>{rows}</tbody></table>"

    def plot(self, x: str, y: str, *, log: bool = True):
        """Draw one column over another, every row a named point.

        Args:
            x: column of numbers.
            y: column of numbers.
            log: logarithmic axes.

        Returns:
            the figure, and the numbers behind it: name of the row to (x, y).
        """
        need("a plot", "matplotlib")
        from matplotlib.figure import Figure

        name = next((c for c in self.columns if self._is_text(c)), None)
        names = self.column(name) if name else [str(i + 1) for i in range(len(self))]
        points = [
            (str(n), float(a), float(b))
            for n, a, b in zip(names, self.column(x), self.column(y))
            if a is not None and b is not None
        ]
        figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
        axes = figure.subplots()
        for n, a, b in points:
            axes.scatter(a, b, s=42, color="#0072B2", zorder=3)
            axes.annotate(n, (a, b), xytext=(6, 5), textcoords="offset points", fontsize=10)
        if log:
            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
        axes.margins(x=0.18, y=0.12)
        axes.set_xlabel(x, fontsize=11)
        axes.set_ylabel(y, fontsize=11)
        axes.grid(True, color="#e2e2e2", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        return figure, {n: (a, b) for n, a, b in points}

    def _is_text(self, name: str) -> bool:
        return name in self.columns and any(isinstance(v, str) for v in self.column(name))

    def _text(self, value: Value) -> str:
        if value is None:
            return "–"
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 10**self.digits else f"{value:.{self.digits}g}"
        return f"{value:,}" if isinstance(value, int) else str(value)
