"""Rules of a table: conditions on several columns that every row keeps.

    age >= 18            start <= end            a + b == total            2 * a < b - 1
    sex == female or pregnant == no              site in [va, cleveland]
    fixed: state, country                        only combinations that the training rows have

A name with other characters than letters, digits, "_" and "." is written in backquotes, a value with such in quotes. A
word that is no column is a value of the column on the other side. A comparison with a missing cell is unknown, and a
rule that is unknown holds, as in SQL: true is 1, false 0, unknown 1/2; `and` is the minimum, `or` the maximum, `not x`
is 1 - x.

The grammar, read by a small parser that computes nothing but this:

    rule  = "fixed:" name ("," name)*  |  any          any   = all ("or" all)*         all = one ("and" one)*
    one   = "not" one | "(" any ")" | sum compare sum | name "in" "[" value ("," value)* "]"
    sum   = product (("+" | "-") product)*             product = atom (("*" | "/") atom)*
    atom  = number | name | value | "(" sum ")" | "-" atom
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.columns import Column, Table
from morphogen.core.errors import SpecError, UsageError, unknown
from morphogen.core.printable import shortened
from morphogen.data.tables.where import value_in

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)(?![\w.])|`(?P<quoted>[^`]+)`|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<sign><=|>=|==|!=|[<>()+\-*/\[\],])|(?P<word>[^\s<>=!()+\-*/\[\],`'\"]+))"
)
_SLACK = 1e-9  # of sums that are compared for equality, relative
_MOST = 1000  # tokens of a rule
_DEPTH = 40

Truth = Callable[[Tensor], Tensor]  # cells (B, C) -> (B,) in {0, 1/2, 1}
Value = Callable[[Tensor], Tensor]  # cells (B, C) -> (B,)


@dataclass(frozen=True)
class _Side:
    """One side of a comparison: a number, or a word that only its other side can read."""

    value: Value | None
    column: Column | None = None
    word: str | None = None


class Rules:
    """The rules of a table, ready to be asked. Raises `SpecError` for one that cannot be read.

    `fixed` combinations are those of `Table.combinations`, in the order of the rules.
    """

    def __init__(self, table: Table) -> None:
        self.texts = [rule for rule in table.rules if not rule.lower().startswith("fixed:")]
        self._truths = [_Parser(rule, table).rule() for rule in self.texts]
        self.fixed = [names_of(rule, table) for rule in table.rules if rule.lower().startswith("fixed:")]
        self._fixed = []
        for places, rows in zip(self.fixed, table.combinations, strict=False):
            self._fixed.append((places, torch.tensor(rows, dtype=torch.float64).reshape(-1, len(places))))

    def __bool__(self) -> bool:
        return bool(self._truths or self._fixed)

    def hold(self, cells: Tensor) -> Tensor:
        """(B,) bool: which rows of cells (B, C) keep every rule."""
        found = torch.ones(len(cells), dtype=torch.bool)
        for truth in self._truths:
            found &= truth(cells) > 0.0
        for places, rows in self._fixed:
            here = cells[:, places].nan_to_num(MISSING)
            known = torch.cat((rows, here)).unique(dim=0, return_inverse=True)[1]
            found &= torch.isin(known[len(rows) :], known[: len(rows)])
        return found

    def broken(self, cells: Tensor) -> list[tuple[str, int]]:
        """Each rule with the number of rows that break it."""
        return [(text, int((truth(cells) == 0.0).sum())) for text, truth in zip(self.texts, self._truths, strict=True)]


MISSING = -(2.0**60)  # a missing cell among the combinations


def names_of(rule: str, table: Table) -> list[int]:
    """The places of the columns of a rule `fixed: a, b`."""
    names = [name.strip().strip("`") for name in rule.partition(":")[2].split(",")]
    for name in names:
        if name not in table.names:
            raise SpecError(f"rule {shortened(rule)!r}: {unknown('column', name, table.names)}")
    if len(names) < 2:
        raise SpecError(f"rule {shortened(rule)!r}: give at least two columns.")
    return [table.names.index(name) for name in names]


class _Parser:
    def __init__(self, text: str, table: Table) -> None:
        self.text, self.table = text, table
        self.tokens: list[tuple[str, str]] = []
        self.at = self.depth = 0
        place = 0
        while place < len(text.rstrip()) and len(self.tokens) <= _MOST:
            match = _TOKEN.match(text, place)
            if match is None:
                raise self.refused(f"cannot read {shortened(text[place:], 20)!r}")
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind]))
            place = match.end()
        if not self.tokens or len(self.tokens) > _MOST:
            raise self.refused(f"expected a condition of at most {_MOST:,} words")

    def refused(self, why: str) -> SpecError:
        return SpecError(f"rule {shortened(self.text)!r}: {why}; write rules such as age >= 18 or a + b == total.")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def take(self) -> tuple[str, str]:
        found = self.peek()
        if not found[0]:
            raise self.refused("it ends too early")
        self.at += 1
        return found

    def takes(self, text: str) -> bool:
        kind, found = self.peek()
        if kind in ("sign", "word") and found.lower() == text:
            self.at += 1
            return True
        return False

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.refused("it is nested too deeply")

    def rule(self) -> Truth:
        found = self.any()
        if self.peek()[0]:
            raise self.refused(f"did not expect {shortened(self.peek()[1], 20)!r}")
        return found

    def any(self) -> Truth:
        parts = [self.all()]
        while self.takes("or"):
            parts.append(self.all())
        return lambda cells: torch.stack([part(cells) for part in parts]).amax(0)

    def all(self) -> Truth:
        parts = [self.one()]
        while self.takes("and"):
            parts.append(self.one())
        return lambda cells: torch.stack([part(cells) for part in parts]).amin(0)

    def one(self) -> Truth:
        self.deeper()
        try:
            if self.takes("not"):
                inner = self.one()
                return lambda cells: 1.0 - inner(cells)
            start = self.at
            if self.takes("("):
                try:
                    found = self.any()
                    if self.takes(")") and self.peek()[1] not in ("<", ">", "<=", ">=", "==", "!=", *"+-*/"):
                        return found
                except SpecError:
                    pass
                self.at = start  # a sum in parentheses
            return self.comparison()
        finally:
            self.depth -= 1

    def comparison(self) -> Truth:
        left = self.sum()
        if self.takes("in"):
            return self.membership(left)
        kind, sign = self.take()
        if kind != "sign" or sign not in ("<", ">", "<=", ">=", "==", "!="):
            raise self.refused(f"expected a comparison, got {shortened(sign, 20)!r}")
        right = self.sum()
        a, b = self.read(left, right.column), self.read(right, left.column)
        if sign[0] in "<>" and "category" in {side.column.type for side in (left, right) if side.column}:
            raise self.refused("the values of a category have no order")
        return lambda cells: _compared(a(cells), b(cells), sign)

    def membership(self, left: _Side) -> Truth:
        if left.column is None or not self.takes("["):
            raise self.refused("write NAME in [a, b]")
        values = [self.value(left.column, self.take()[1])]
        while self.takes(","):
            values.append(self.value(left.column, self.take()[1]))
        if not self.takes("]"):
            raise self.refused("the list does not end")
        here, allowed = self.read(left, None), torch.tensor(values, dtype=torch.float64)
        return lambda cells: _known(torch.isin(here(cells), allowed), here(cells))

    def read(self, side: _Side, other: Column | None) -> Value:
        if side.value is not None and not (side.word is not None and other is not None and not other.is_number):
            return side.value
        if other is None or side.word is None:
            raise self.refused(unknown("column", side.word or "", self.table.names))
        number = self.value(other, side.word)
        return lambda cells: cells.new_full((len(cells),), number)

    def value(self, column: Column, text: str) -> float:
        try:
            return value_in(text.strip("'\""), column)
        except UsageError as error:
            raise self.refused(str(error)) from None

    def sum(self) -> _Side:
        return self.chain(self.product, {"+": torch.add, "-": torch.sub})

    def product(self) -> _Side:
        return self.chain(self.atom, {"*": torch.mul, "/": torch.div})

    def chain(self, part: Callable[[], _Side], signs: dict[str, Callable[[Tensor, Tensor], Tensor]]) -> _Side:
        found = part()
        while self.peek()[0] == "sign" and self.peek()[1] in signs:
            compute = signs[self.take()[1]]
            a, b = self.number(found), self.number(part())
            found = _Side(lambda cells, a=a, b=b, compute=compute: compute(a(cells), b(cells)))  # type: ignore[misc]
        return found

    def number(self, side: _Side) -> Value:
        if side.value is None or (side.column is not None and not side.column.is_number):
            raise self.refused("only numbers are added and multiplied")
        return side.value

    def atom(self) -> _Side:
        self.deeper()
        try:
            kind, text = self.take()
            if kind == "number":
                number = float(text)
                return _Side(lambda cells: cells.new_full((len(cells),), number), word=text)
            if kind == "sign" and text == "-":
                inner = self.number(self.atom())
                return _Side(lambda cells: -inner(cells))
            if kind == "sign" and text == "(":
                found = self.sum()
                if not self.takes(")"):
                    raise self.refused("a parenthesis is not closed")
                return found
            if kind in ("quoted", "word") and text in self.table.names:
                place = self.table.names.index(text)
                return _Side(lambda cells: cells[:, place], self.table.columns[place])
            if kind in ("text", "word"):
                return _Side(None, word=text.strip("'\""))
            raise self.refused(f"did not expect {shortened(text, 20)!r}")
        finally:
            self.depth -= 1


def _compared(a: Tensor, b: Tensor, sign: str) -> Tensor:
    slack = _SLACK * torch.maximum(a.abs(), b.abs()).clamp_min(1.0)
    equal = (a - b).abs() <= slack
    found = {
        "==": equal,
        "!=": ~equal,
        "<": (a < b) & ~equal,
        ">": (a > b) & ~equal,
        "<=": (a < b) | equal,
        ">=": (a > b) | equal,
    }[sign]
    return _known(found, a + b)


def _known(found: Tensor, cells: Tensor) -> Tensor:
    """Truths as numbers; 1/2 where a cell is missing."""
    return torch.where(cells.isnan(), 0.5, found.double())
