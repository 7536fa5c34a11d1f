from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.mcp.template import UriTemplate


def test_a_uri_of_the_template_gives_its_variables_decoded() -> None:
    template = UriTemplate("edged://models/{name}/at/{when}")
    assert template.match("edged://models/a%20b/at/caf%C3%A9") == {"name": "a b", "when": "café"}


@pytest.mark.parametrize(
    "uri",
    [
        "edged://models/",
        "edged://models/a/b",
        "edged://models/a?x",
        "edged://models/a#x",
        "xedged://models/a",
        "edged://models/%ff",
        "edged://models/a\n/",
        "",
    ],
)
def test_another_uri_is_not_of_it(uri: str) -> None:
    assert UriTemplate("edged://models/{name}").match(uri) is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_what_is_expanded_is_matched_again(first: str, second: str) -> None:
    template = UriTemplate("x://{a}/.+/{b}!")
    values = {"a": first, "b": second}
    assert template.match(template.expand(values)) == values


@pytest.mark.parametrize(
    "text", ["x://{+a}", "x://{a", "x://a}", "x://{}", "x://plain", "x://{a}/{a}", "x://{a*}", "x://{a,b}"]
)
def test_what_is_not_of_level_one_is_refused_when_it_is_made(text: str) -> None:
    with pytest.raises(ValueError, match="URI template"):
        UriTemplate(text)
