"""Exact arithmetic from text: its own little grammar over Python's parser, and no eval."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from accord.environments.tools import ToolError

LONGEST = 200
"""Characters of an expression."""
_LARGEST_EXPONENT = 64
_MOST_BITS = 4096
"""Of a numerator or denominator; beyond it a sum of primary school has gone wrong."""
_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
}
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*%(?!\s*[\d(.])")


def calculator(expression: str) -> str:
    """Work out an arithmetic expression with + - * / // % ** and brackets, exactly."""
    return format_number(evaluate(expression))


def evaluate(expression: str) -> Fraction:
    """The value of an arithmetic expression.

    Thousands' commas, a currency sign, percent after a number (a hundredth) and the signs × ÷ − are
    understood.

    Raises:
        ToolError: it is no arithmetic, too long, divides by zero, or its value is too large.
    """
    text = _THOUSANDS.sub("", expression.strip()).replace("$", "")
    for sign, plain in {"×": "*", "÷": "/", "−": "-", "^": "**"}.items():
        text = text.replace(sign, plain)
    text = _PERCENT.sub(r"(\1/100)", text)
    if not text or len(text) > LONGEST:
        raise ToolError(f"expected an expression of 1 to {LONGEST} characters, got {len(text)}")
    try:
        return _value(ast.parse(text, mode="eval").body, text)
    except ZeroDivisionError:
        raise ToolError(f"{text}: divides by zero") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolError(f"{text!r}: expected arithmetic, such as (3 + 4) * 2.5") from None


def _value(node: ast.expr, text: str) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        written = ast.get_source_segment(text, node) or ""
        if _PLAIN.fullmatch(written):  # an exponent could ask for a number of any size
            return Fraction(written)  # 0.1 is a tenth
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, text), _value(node.right, text)
        if isinstance(node.op, ast.Pow):
            return _small(_power(left, right))
        if type(node.op) in _BINARY:
            return _small(_BINARY[type(node.op)](left, right))
    raise ValueError("no arithmetic")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > _LARGEST_EXPONENT:
        raise ToolError(f"expected a whole exponent of at most {_LARGEST_EXPONENT}")
    return Fraction(base ** int(exponent))


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise ToolError("the value is too large")
    return value


def format_number(value: Fraction) -> str:
    """A whole number as it is; else at most ten significant digits."""
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.10g}"
