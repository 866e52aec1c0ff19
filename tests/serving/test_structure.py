"""Grammars of JSON schemas, and the tokens that they leave."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from accord.core.errors import DataError
from accord.serving.json_schema import grammar_of
from accord.serving.protocol import Function, Tool
from accord.serving.structure import structure_for, tool_call_structure

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "tags"],
}
TWO = {"properties": {"a": {"type": "null"}, "b": {"type": "null"}}}
TREE = {
    "$defs": {"node": {"type": "object", "properties": {
        "value": {"type": "number"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["value"]}},
    "$ref": "#/$defs/node",
}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "said", "is_read"),
    [
        (PERSON, '{"name": "Ann", "age": 3, "tags": ["a"]}', True),
        (PERSON, '{"name":"Ann","tags":[]}', True),
        (PERSON, '{"name": "Ägi", "tags": ["a","b"]}', True),
        (PERSON, '{"name": "Ann"}', False),  # tags are missing
        (PERSON, '{"tags": [], "name": "Ann"}', False),  # not in the schema's order
        (PERSON, '{"name": "Annika", "tags": []}', False),
        (PERSON, '{"name": "Ann", "age": 3.5, "tags": []}', False),
        (PERSON, '{"name": "Ann", "tags": ["a","b","a"]}', False),
        (PERSON, '{"name": "Ann", "tags": ["c"]}', False),
        (PERSON, '{"name": "Ann", "tags": [],}', False),
        (TREE, '{"value": 1.5e3, "children": [{"value": -0, "children": []}]}', True),
        (TREE, '{"children": []}', False),
        ({"type": ["integer", "null"]}, "null", True),
        ({"type": ["integer", "null"]}, "007", False),
        ({"const": {"a": [1]}}, '{"a":[1]}', True),
        ({"anyOf": [{"type": "boolean"}, {"type": "integer"}]}, "true", True),
        ({"type": "array", "items": {}, "minItems": 2}, '[1, {"x": [null]}]', True),
        ({"type": "array", "items": {}, "minItems": 2}, "[1]", False),
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}]}, '[1,"x"]', True),
        ({"type": "object"}, '{"a": {"b": [1, "\\n"]}, "c": false}', True),
        ({"type": "object"}, "[]", False),
        ({"type": "string", "minLength": 2}, '"\\"x"', True),
        ({"type": "string", "minLength": 2}, '"x"', False),
        (TWO, '{"b":null}', True),
        (TWO, "{}", True),
        (TWO, '{"a":null,"b":null}', True),
        (TWO, '{,"b":null}', False),
    ],
)  # fmt: skip
def test_a_grammar_reads_what_its_schema_allows(schema: Any, said: str, is_read: bool) -> None:
    assert grammar_of(schema).reads(said.encode()) == is_read


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "a+"},
        {"type": "integer", "minimum": 3},
        {"type": "thing"},
        {"$ref": "#/$defs/none"},
        {"$ref": "http://elsewhere"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"properties": {}, "required": ["x"]},
        {"enum": []},
        {"type": "object", "properties": {"a": {}}, "anyOf": [{"type": "object"}]},
        {"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a", "minLength": 3},
        {"anyOf": [{"type": "string"}], "oneOf": [{"type": "integer"}]},
        {"type": "object", "properties": {"a": 7}},
    ],
)
def test_what_cannot_be_promised_is_refused(schema: Any) -> None:
    with pytest.raises(DataError):
        grammar_of(schema)


def served(words: list[str]) -> Any:
    """A model whose tokens are these; the first is the end of turn."""

    class Encoder:
        end_of_turn_id = 0

    encoder = Encoder()
    spelt = [word.encode() for word in words]
    return SimpleNamespace(
        encoder=encoder, bytes_of=[None, *spelt], longest_token=max(map(len, spelt))
    )


def test_tokens_that_may_come_next() -> None:
    words = ["{", '{"', 'a"', '":', ":", " 1", "1", "}", "2}", "x", '"a":', "12"]
    model = served(words)
    allowed = structure_for(
        model, {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
    ).new_filter()

    def next_words(*said: str) -> set[str]:
        ids = [words.index(word) + 1 for word in said]
        return {"END" if i == 0 else words[i - 1] for i in allowed(ids)}

    assert next_words() == {"{", '{"'}
    assert next_words('{"') == {'a"'}
    assert next_words('{"', 'a"') == {":"}
    assert next_words('{"', 'a"', ":") == {" 1", "1", "2}", "12"}
    assert next_words('{"', 'a"', ":", " 1") == {"1", "}", "2}", "12"}
    assert next_words('{"', 'a"', ":", " 1", "2}") == {"END"}


def test_a_filter_leads_to_json_whatever_is_chosen() -> None:
    words = [chr(c) for c in range(32, 127)] + ['": ', '", "', "tr", "true", '{"']
    model = served(words)
    for pick in range(40):
        allowed, ids = structure_for(model, PERSON).new_filter(), []
        while (options := sorted(allowed(ids))) != [0]:
            ids.append(options[(7 * pick + len(ids) * pick) % len(options)] or options[-1])
            assert len(ids) < 200
        value = json.loads("".join(words[i - 1] for i in ids))
        assert len(value["name"]) <= 5 and set(value) <= {"name", "age", "tags"}


WORDS = [*'abc"[]{},:0 ', "ab", "cab", 'ab"', '",', "abca", "é", '"]', "00"]


def test_a_long_string_is_looked_at_a_few_times() -> None:
    structure = structure_for(served(WORDS), {"type": "string", "maxLength": 1000})
    looked: Any = []
    look = structure._look
    structure._look = lambda state: looked.append(state) or look(state)  # type: ignore[method-assign]
    allowed, ids = structure.new_filter(), [WORDS.index('"') + 1]
    for _ in range(200):
        assert WORDS.index("abca") + 1 in allowed(ids)
        ids.append(WORDS.index("a") + 1)
    longest = max(len(word.encode()) for word in WORDS)
    assert len(looked) <= 2 * longest
    ids += [WORDS.index("b") + 1] * 799
    last = {WORDS[i - 1] for i in allowed(ids)}
    assert {"a", "é", '"'} <= last and not {"ab", "cab", "abca", "00"} & last


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 7, "maxLength": 11},
        {
            "type": "array",
            "items": {"type": "string", "maxLength": 3},
            "minItems": 5,
            "maxItems": 7,
        },
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 6}},
    ],
)
def test_what_is_remembered_of_many_states_is_what_each_allows(schema: Any) -> None:
    structure = structure_for(served(WORDS), schema)
    for pick in range(30):
        state, ids = structure.grammar.start, []
        while len(ids) < 60:
            options = sorted(structure.allowed(state))
            assert options == sorted(structure._look(state)), [WORDS[i - 1] for i in ids]
            if options == [0]:
                break
            ids.append(options[(5 * pick + len(ids) * (pick + 1)) % len(options)] or options[-1])
            for byte in structure.bytes_of[ids[-1]] or b"":
                state = structure.grammar.after(state, byte)


def test_a_forced_call_names_a_tool_and_keeps_its_schema() -> None:
    words = [chr(c) for c in range(32, 127)]
    model = served(words)
    schema = {"properties": {"x": {"enum": [1]}}, "required": ["x"]}
    tools = [Tool(function=Function(name=n, parameters=schema)) for n in ("add", "sub")]
    allowed, ids = tool_call_structure(model, tools).new_filter(), []
    while (options := sorted(allowed(ids))) != [0]:
        ids.append(options[-1])
    said = "".join(words[i - 1] for i in ids)
    assert said == '<tool_call>{"name": "sub", "arguments": {"x":1}}</tool_call>'
