from typing import Annotated

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from edged.checking import line_numbers, parse


class Leaf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    name: str


class Red(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="red"):
    depth: int = 1


class Blue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="blue"):
    height: int = 1


class Tree(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str = ""
    leaves: Annotated[list[Leaf], Meta(min_length=1)] = msgspec.field(default_factory=list)
    colour: Red | Blue = Red()
    ports: dict[str, Annotated[int, Meta(gt=0)]] = msgspec.field(default_factory=dict)
    maybe: Leaf | None = None

    def __post_init__(self) -> None:
        if self.title == "forbidden":
            raise ValueError("title must not be forbidden")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text, Tree)[1]]


def test_a_right_document_becomes_the_struct() -> None:
    tree, found = parse('title = "t"\n[[leaves]]\nname = "a"\n[colour]\nkind = "blue"\n', Tree)
    assert found == []
    assert tree == Tree(title="t", leaves=[Leaf(name="a")], colour=Blue())


def test_every_problem_is_named_with_its_path_and_line() -> None:
    text = """title = 3
titel = "x"
[[leaves]]
name = "a"
port = 70000
[[leaves]]
port = "1"
[colour]
kind = "green"
[ports]
a = -1
"""
    assert problems(text) == [
        "line 1: title: expected `str`, got `int`",
        "line 2: titel: unknown key; known here: colour, leaves, maybe, ports, title",
        "line 5: leaves[0].port: expected `int` <= 65535",
        "line 6: leaves[1].name: required, and missing",
        "line 7: leaves[1].port: expected `int`, got `str`",
        "line 9: colour.kind: unknown: 'green'; one of blue, red",
        "line 11: ports.a: expected `int` >= 1",
    ]


def test_bounds_of_a_list_of_tables_are_checked_too() -> None:
    assert problems("leaves = []\n") == ["line 1: leaves: expected `array` of length >= 1"]


def test_a_rule_over_several_fields_is_reported_at_its_table() -> None:
    assert problems('title = "forbidden"\n') == ["line 1: (document): title must not be forbidden"]


def test_a_table_where_a_value_is_wanted_and_the_reverse() -> None:
    assert problems("maybe = 3\n") == ["line 1: maybe: expected a table, got an integer"]
    assert problems("[title]\n") == ["line 1: title: expected `str`, got `object`"]
    assert problems("colour = 3\n") == ["line 1: colour: expected a table, got an integer"]
    assert problems("[colour]\n") == ["line 1: colour.kind: required, and missing; one of blue, red"]


def test_a_syntax_error_has_its_line() -> None:
    assert problems('title = "a"\nx = = 3\n') == ["line 2: (document): not TOML: Invalid value"]


def test_keys_inside_a_multi_line_string_are_not_keys() -> None:
    text = 'a = """\nb = 1\n[t]\n"""\nc = 2\n'
    assert line_numbers(text) == {"a": 1, "c": 5}


def test_dotted_and_quoted_keys_have_lines() -> None:
    assert line_numbers('a.b = 1\n["c d".e]\n"uid:1000" = 2\n') == {"a.b": 1, "c d.e": 2, "c d.e.uid:1000": 3}


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    tree, found = parse(text, Tree)
    assert (tree is None) == bool(found)
