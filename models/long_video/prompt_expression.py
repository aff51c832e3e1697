"""Numbers in prompts that change from frame to frame: `` (cross:`t / max_f`) ``, as FizzNodes' schedules have them.

Python's own parser reads an expression, and what it read is worked out here, in floats; nothing is ever executed.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

MAX_LENGTH = 200  # characters of an expression
MAX_SHOWN = 40  # of them in an error
_EXPRESSION = re.compile(r"`([^`\n]*)`")

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: float.__truediv__,
    ast.FloorDiv: float.__floordiv__,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
# Name -> how many numbers it takes, and what it makes of them. Names are numexpr's, which FizzNodes asks.
FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    **{
        name: (1, getattr(math, name))
        for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "exp")
    },
    **{name: (1, getattr(math, name)) for name in ("log", "log10", "log1p", "expm1", "floor", "ceil")},
    **{
        f"arc{name}": (1, getattr(math, f"a{name}")) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    "arctan2": (2, math.atan2),
    "abs": (1, abs),
}
_KNOWN = (
    f"numbers, t, max_f, pi, + - * / // % **, < <= > >= == != and the functions where, {', '.join(FUNCTIONS)}"
)


class ExpressionError(ValueError):
    """An expression can't be read, or has no number as its value.

    Attributes:
        expression: text of it, with its back quotes.
    """

    def __init__(self, expression: str, got: str, advice: str, *, closed: bool = True) -> None:
        """Say what stands in an expression, and what should.

        Args:
            expression: text of it, without its back quotes.
            got: words for what is wrong in it.
            advice: words for what was expected, and what to do.
            closed: True where a back quote is behind it.
        """
        self.expression = f"`{expression}" + "`" * closed
        shown = self.expression if len(expression) <= MAX_SHOWN else f"{self.expression[:MAX_SHOWN]}..."
        super().__init__(f"got {got} in {shown}; expected {advice}")


def has_expressions(prompt: str) -> bool:
    """Tell whether a prompt has a back quote, and so an expression."""
    return "`" in prompt


def fill_in(prompt: str, frame: int, frames: int) -> str:
    """Return a prompt in which the values at a frame stand for expressions.

    Args:
        prompt: text with expressions in back quotes: ``t`` is the frame, ``max_f`` the clip's last, as in FizzNodes.
        frame: number of the frame, from 0.
        frames: length of the clip.

    Raises:
        ExpressionError: one can't be read, or its value is not finite.

    Examples:
        >>> fill_in("a (cross:`t / max_f`), (ball:`1 - 0.5 * sin(t)`)", 3, 13)
        'a (cross:0.25), (ball:0.92944)'
    """
    if "`" in (rest := _EXPRESSION.sub("", prompt)):
        alone = rest[rest.index("`") + 1 :]
        raise ExpressionError(
            alone, "one back quote", "two around an expression; write or delete one", closed=False
        )
    names = {"t": float(frame), "max_f": float(max(frames - 1, 0)), "pi": math.pi}
    return _EXPRESSION.sub(lambda match: _written(evaluate(match[1], names)), prompt)


def _written(value: float) -> str:
    """Return a number as weights in prompts have it: without an exponent, and zero without a sign."""
    return f"{round(value, 5) + 0.0:.5f}".rstrip("0").rstrip(".")


def evaluate(text: str, names: dict[str, float]) -> float:
    """Work an expression out.

    Args:
        text: expression, without its back quotes; at most ``MAX_LENGTH`` characters.
        names: values by the names that it may use.

    Raises:
        ExpressionError: it can't be read, or its value is not finite.

    Examples:
        >>> evaluate("where(t > 2, -t ** 2, 0)", {"t": 3.0})
        -9.0
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, f"{len(text):,} characters", f"at most {MAX_LENGTH}; shorten it")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(text, "something that is no arithmetic", f"{_KNOWN}; correct it") from error
    try:
        value = float(_value(text, tree.body, names))
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, ExpressionError):
            raise
        raise ExpressionError(text, _no_number(names), "a finite number at every frame; change it") from error
    if not math.isfinite(value):
        raise ExpressionError(text, _no_number(names), "a finite number at every frame; change it")
    return value


def _value(text: str, node: ast.AST, names: dict[str, float]) -> float:
    """Work out a part of an expression."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(text, operand, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(text, left, names), _value(text, right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_value(text, left, names), _value(text, right, names)))
        case ast.Call(func=ast.Name(id="where"), args=[condition, one, other], keywords=[]):
            return _value(text, one if _value(text, condition, names) else other, names)
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
            count, function = FUNCTIONS[name]
            if len(parts) == count:
                return float(function(*(_value(text, part, names) for part in parts)))
        case _:
            pass
    part = ast.get_source_segment(text.strip(), node) if isinstance(node, ast.expr) else None
    raise ExpressionError(text, repr(part or text), f"{_KNOWN}; correct it")


def _no_number(names: dict[str, float]) -> str:
    at = f" at frame {names['t']:.0f}" if "t" in names else ""
    return f"no finite number{at}"
