"""JSON schemas as grammars: every text of the grammar is JSON that the schema allows.

Written compactly, with at most a space after `:` and `,`. Properties come in the schema's order.
What a grammar cannot promise (`pattern`, `minimum`, ...) is refused and not quietly left out.
"""

import json
from typing import Any

from accord.core.errors import DataError
from accord.serving.grammar import (
    Bytes,
    Choice,
    Expression,
    Grammar,
    Repeat,
    Rule,
    Sequence,
    optional,
    text,
)

_NOTES = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated",
          "readOnly", "writeOnly", "$defs", "definitions", "strict", "name"}  # fmt: skip
_KNOWN = {"type", "enum", "const", "properties", "required", "additionalProperties", "items",
          "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "anyOf", "oneOf",
          "allOf", "$ref"}  # fmt: skip
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_ALONE = ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")
_MOST_NODES, _DEEPEST = 5000, 64
_DIGITS = 15
"""Of a number before and after its point: what a double keeps."""


def _among(*ranges: tuple[int, int]) -> Expression:
    return Bytes(frozenset(b for low, high in ranges for b in range(low, high + 1)))


_TAIL = _among((0x80, 0xBF))
_CHARACTER = Choice(
    (
        _among((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7F)),
        Sequence((_among((0xC2, 0xDF)), _TAIL)),
        Sequence((_among((0xE0, 0xE0)), _among((0xA0, 0xBF)), _TAIL)),
        Sequence((_among((0xE1, 0xEC), (0xEE, 0xEF)), _TAIL, _TAIL)),
        Sequence((_among((0xED, 0xED)), _among((0x80, 0x9F)), _TAIL)),
        Sequence((_among((0xF0, 0xF0)), _among((0x90, 0xBF)), _TAIL, _TAIL)),
        Sequence((_among((0xF1, 0xF3)), _TAIL, _TAIL, _TAIL)),
        Sequence((_among((0xF4, 0xF4)), _among((0x80, 0x8F)), _TAIL, _TAIL)),
        Sequence((text("\\"), Bytes(frozenset(b'"\\/bfnrt')))),
    )
)
_DIGIT = _among((0x30, 0x39))
_INTEGER = Sequence(
    (
        optional(text("-")),
        Choice((text("0"), Sequence((_among((0x31, 0x39)), Repeat(_DIGIT, 0, _DIGITS - 1))))),
    )
)
_EXPONENT = Sequence(
    (Bytes(frozenset(b"eE")), optional(Bytes(frozenset(b"+-"))), Repeat(_DIGIT, 1, 2))
)
_NUMBER = Sequence(
    (
        _INTEGER,
        optional(Sequence((text("."), Repeat(_DIGIT, 1, _DIGITS)))),
        optional(_EXPONENT),
    )
)
_COMMA = Sequence((text(","), optional(text(" "))))
_COLON = Sequence((text(":"), optional(text(" "))))
_ANY = Rule("any JSON")


def _string(least: int = 0, most: int | None = None) -> Expression:
    return Sequence((text('"'), Repeat(_CHARACTER, least, most), text('"')))


def _listed(part: Expression, least: int, most: int | None) -> Expression:
    """Of `least` to `most` parts, between commas."""
    if most is not None and most < max(least, 1):
        if most < least:
            raise DataError(f"at least {least} and at most {most} items are asked for")
        return text("")
    rest = Repeat(Sequence((_COMMA, part)), max(least - 1, 0), None if most is None else most - 1)
    found = Sequence((part, rest))
    return found if least > 0 else optional(found)


_PAIR = Sequence((_string(), _COLON, _ANY))
_ANY_OBJECT = Sequence((text("{"), _listed(_PAIR, 0, None), text("}")))
_RULES: dict[str, Expression] = {
    _ANY.name: Choice(
        (
            _ANY_OBJECT,
            Sequence((text("["), _listed(_ANY, 0, None), text("]"))),
            _string(),
            _NUMBER,
            text("true"),
            text("false"),
            text("null"),
        )
    )
}


def grammar_of(schema: dict[str, Any]) -> Grammar:
    """Of one schema.

    Raises:
        DataError: it asks for what a grammar cannot promise, or is none.
    """
    reader = _Reader(schema)
    root = reader.expression(schema, "schema", 0)
    return Grammar(root, reader.rules)


def expression_of(schema: dict[str, Any], rules: dict[str, Expression]) -> Expression:
    """The same as a part of a larger grammar, to whose rules it adds its own."""
    reader = _Reader(schema, prefix=f"{len(rules)} ")
    found = reader.expression(schema, "schema", 0)
    rules.update(reader.rules)
    return found


class _Reader:
    def __init__(self, root: dict[str, Any], prefix: str = "") -> None:
        self.root = root
        self.prefix = prefix
        self.rules = dict(_RULES)
        self.count = 0

    def expression(self, schema: Any, where: str, depth: int) -> Expression:
        self.count += 1
        if self.count > _MOST_NODES or depth > _DEEPEST:
            raise DataError(f"{where}: the schema is too large, or nests too deep")
        if schema is True or schema == {}:
            return _ANY
        if not isinstance(schema, dict):
            raise DataError(f"{where}: expected a schema, got {type(schema).__name__}")
        unknown = sorted(set(schema) - _KNOWN - _NOTES)
        if unknown:
            raise DataError(f"{where}: {unknown[0]!r} cannot be promised; known: {sorted(_KNOWN)}")
        _refuse_beside(schema, where)
        if "$ref" in schema:
            return self._reference(schema["$ref"], where)
        if "const" in schema:
            return text(_dumped(schema["const"]))
        if "enum" in schema:
            return self._enum(schema["enum"], where)
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._choice(schema[key], f"{where}.{key}", depth)
        return self._typed(schema, where, depth)

    def _typed(self, schema: dict[str, Any], where: str, depth: int) -> Expression:
        kinds = schema.get("type", _guessed(schema))
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list | tuple) or not kinds or not set(kinds) <= set(_TYPES):
            raise DataError(f"{where}.type: expected some of {', '.join(_TYPES)}")
        found = tuple(self._of_type(kind, schema, where, depth) for kind in kinds)
        return found[0] if len(found) == 1 else Choice(found)

    def _of_type(self, kind: str, schema: dict[str, Any], where: str, depth: int) -> Expression:
        match kind:
            case "object":
                return self._object(schema, where, depth)
            case "array":
                return self._array(schema, where, depth)
            case "string":
                return _string(*_bounds(schema, "Length", where))
            case "integer":
                return _INTEGER
            case "number":
                return _NUMBER
            case "boolean":
                return Choice((text("true"), text("false")))
            case _:
                return text("null")

    def _object(self, schema: dict[str, Any], where: str, depth: int) -> Expression:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise DataError(f"{where}: expected properties by name, and required as a list")
        missing = [name for name in required if name not in properties]
        if missing:
            raise DataError(f"{where}.required: {missing[0]!r} is not among the properties")
        extra = schema.get("additionalProperties", not properties)
        pairs: list[tuple[Expression, bool]] = []
        for name, inner in properties.items():
            value = self.expression(inner, f"{where}.{name}", depth + 1)
            pairs.append((Sequence((text(_dumped(name)), _COLON, value)), name in required))
        if extra is not False and not properties:
            value = self.expression(extra, f"{where}.additionalProperties", depth + 1)
            pair = Sequence((_string(), _COLON, value))
            return Sequence((text("{"), _listed(pair, 0, None), text("}")))
        return Sequence((text("{"), _in_order(pairs), text("}")))

    def _array(self, schema: dict[str, Any], where: str, depth: int) -> Expression:
        least, most = _bounds(schema, "Items", where)
        first = schema.get("prefixItems")
        if first is not None:
            if not isinstance(first, list) or schema.get("items", False) is not False:
                raise DataError(f"{where}: prefixItems stand alone: no items beside them")
            parts = [self.expression(s, f"{where}.prefixItems", depth + 1) for s in first]
            between: list[Expression] = [p for part in parts for p in (_COMMA, part)][1:]
            return Sequence((text("["), *between, text("]")))
        part = self.expression(schema.get("items", True), f"{where}.items", depth + 1)
        return Sequence((text("["), _listed(part, least, most), text("]")))

    def _choice(self, options: Any, where: str, depth: int) -> Expression:
        if not isinstance(options, list) or not options:
            raise DataError(f"{where}: expected a list of schemas")
        if where.endswith("allOf") and len(options) > 1:
            raise DataError(f"{where}: only one schema can be promised")
        return Choice(tuple(self.expression(option, where, depth + 1) for option in options))

    def _enum(self, values: Any, where: str) -> Expression:
        if not isinstance(values, list) or not 0 < len(values) <= _MOST_NODES:
            raise DataError(f"{where}.enum: expected a list of values")
        return Choice(tuple(text(_dumped(value)) for value in values))

    def _reference(self, path: Any, where: str) -> Expression:
        """A rule: definitions may name themselves."""
        if not isinstance(path, str) or not path.startswith("#"):
            raise DataError(f"{where}.$ref: expected #/..., got {path!r}")
        name = f"{self.prefix}{path}"
        if name not in self.rules:
            found: Any = self.root
            for part in path[1:].split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, dict) else None
            if found is None:
                raise DataError(f"{where}.$ref: there is no {path}")
            if isinstance(found, dict) and "$ref" in found:
                raise DataError(f"{where}.$ref: {path} is a reference again")
            self.rules[name] = _ANY  # so that it may name itself
            self.rules[name] = self.expression(found, path, 1)
        return Rule(name)


def _in_order(pairs: list[tuple[Expression, bool]]) -> Expression:
    """Properties in their order; those that are not required may be left out."""
    # Of the pairs that are left: what may follow a pair that was written, and what may follow none.
    later: Expression = text("")
    first: Expression = text("")
    for pair, is_required in reversed(pairs):
        begun, joined = Sequence((pair, later)), Sequence((_COMMA, pair, later))
        first = begun if is_required else Choice((begun, first))
        later = joined if is_required else Choice((joined, later))
    return first


def _bounds(schema: dict[str, Any], what: str, where: str) -> tuple[int, int | None]:
    least, most = schema.get(f"min{what}", 0), schema.get(f"max{what}")
    for value in (least, 0 if most is None else most):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100_000:
            raise DataError(f"{where}: min{what} and max{what} are whole numbers to 100000")
    if most is not None and most < least:
        raise DataError(f"{where}: max{what} is below min{what}")
    return least, most


def _guessed(schema: dict[str, Any]) -> Any:
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    return list(_TYPES[:4] + _TYPES[5:])


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse_beside(schema: dict[str, Any], where: str) -> None:
    """Of these keys one is read, and nothing that stands beside it."""
    first = next((key for key in _ALONE if key in schema), None)
    if first is None:
        return
    mute = {first, "type"} if first in ("const", "enum") else {first}  # values have their type
    beside = sorted(set(schema) - _NOTES - mute)
    if beside:
        raise DataError(f"{where}: {beside[0]!r} beside {first!r} cannot be promised")
