"""What a compiled model costs, layer by layer, before anything is made."""

from __future__ import annotations

import html
from typing import Any

__all__ = ["Cost"]


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1000
    raise AssertionError


class Cost:
    """The costs of one run.

    Attributes:
        batch: items computed together.
        comparisons: comparisons of one item.
        multiply_adds: multiply-adds of one item, of one party.
        material_bytes: one-time material of one item for P0 and P1.
        online_bytes: bytes that P0 and P1 send for one item.
        exchanges: messages there and back, of a whole run.
        seconds: forecast of a run on two cores over the link the model was compiled for.
        gates: a dictionary a gate, with `name`, `kind`, `comparisons`, `material_bytes`, `online_bits`, `exchanges`,
            `forecast_seconds`.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.batch: int = document["batch"]
        self.comparisons: int = document["comparisons"]
        self.multiply_adds: int = document["multiply_adds"]
        self.material_bytes: tuple[int, int] = (document["material_bytes"]["p0"], document["material_bytes"]["p1"])
        self.online_bytes: tuple[int, int] = (document["online_bytes"]["p0"], document["online_bytes"]["p1"])
        self.exchanges: int = document["exchanges"]
        self.seconds: float = document["forecast"]["seconds"]
        self.gates: list[dict[str, Any]] = document["gates"]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole document, with the field names of `ariann plan --json`."""
        return self.document

    def _rows(self) -> list[tuple[str, str, int, int, int]]:
        return [
            (
                gate["name"],
                gate["kind"],
                gate["comparisons"],
                _sum(gate["material_bytes"]),
                _sum(gate["online_bits"]) // 8,
            )
            for gate in self.gates
        ]

    def _summary(self) -> str:
        return (
            f"one item: {self.comparisons:,} comparisons, {self.multiply_adds:,} multiply-adds, material "
            f"{_bytes(self.material_bytes[0])} for P0 and {_bytes(self.material_bytes[1])} for P1, online "
            f"{_bytes(sum(self.online_bytes))}; a run of {self.batch}: {self.exchanges} exchanges, "
            f"about {self.seconds:.3g} s"
        )

    def __repr__(self) -> str:
        """Return the table as text."""
        rows = [(n, k, f"{c:,}", _bytes(m), _bytes(o)) for n, k, c, m, o in self._rows()]
        head = ("layer", "gate", "comparisons", "material", "online")
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(5)]
        text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
        return "\n".join([*text, self._summary()])

    def _repr_html_(self) -> str:
        rows = self._rows()
        most = max((row[3] + row[4] for row in rows), default=0) or 1
        body = []
        for name, kind, comparisons, material, online in rows:
            width = 100 * (material + online) / most
            bar = f'<div style="background:#3b7dd8;height:.7em;width:{width:.1f}%"></div>'
            cells = [html.escape(name), html.escape(kind), f"{comparisons:,}", _bytes(material), _bytes(online)]
            styled = "".join(
                f'<td style="text-align:{"left" if i < 2 else "right"}">{cell}</td>' for i, cell in enumerate(cells)
            )
            body.append(f'<tr>{styled}<td style="width:12em">{bar}</td></tr>')
        head = "".join(f"<th>{name}</th>" for name in ("layer", "gate", "comparisons", "material", "online", "bytes"))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table><p>{self._summary()}</p>"


def _sum(both: Any) -> int:
    return int(both["p0"]) + int(both["p1"])
