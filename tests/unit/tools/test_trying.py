from __future__ import annotations

import pytest

from edged.errors import BadArgument
from edged.mcp.catalog import Tier
from edged.tools import trying
from edged.tools.trying import Plan
from tests.rig.documents import model, version


def text(plan: Plan) -> str:
    return "\n".join([*plan.known, *plan.steps])


def test_a_model_that_is_absent_is_installed_first() -> None:
    plan = trying.absent("face", ["digits"], Tier.OPERATOR)
    assert plan.known == ["face is not installed; installed: digits."]
    assert plan.next == "models_add"


def test_who_may_not_install_is_told_whom_to_ask() -> None:
    plan = trying.absent("face", [], Tier.ACT)
    assert "installed: none" in text(plan)
    assert "`edged models add FOLDER`" in text(plan)
    assert plan.next == "models_list"


def test_a_ready_version_is_compared_with_the_one_that_serves_and_undone_if_worse() -> None:
    plan = trying.present(model(versions=[version(), version("2", "ready")]), "2", None, Tier.OPERATOR)
    assert plan.next == 'models_activate {"name":"face","version":"2"}'
    assert plan.steps[0].startswith("Ask infer_face about your test input first")
    assert plan.steps[-1] == 'If it is worse, call models_rollback with {"name": "face"}.'
    assert "f32 2.5 ms and 3 MiB" in text(plan)


def test_a_first_version_has_nothing_to_return_to() -> None:
    plan = trying.present(model(active=None, versions=[version("1", "ready")]), None, None, Tier.OPERATOR)
    assert plan.steps[0].startswith("Call models_activate")
    assert "rollback" not in text(plan)
    assert "models_remove" in plan.steps[-1]


def test_who_may_not_serve_is_told_whom_to_ask() -> None:
    plan = trying.present(model(versions=[version(), version("2", "ready")]), "2", None, Tier.ACT)
    assert "Ask an operator to serve it: `edged models activate face 2`." in plan.steps
    assert plan.next == "models_list"
    assert "models_activate" not in text(plan)


@pytest.mark.parametrize(
    ("kind", "argument"),
    [("image", '{"image"'), ("audio", '{"audio"'), ("vector", '{"values"'), ("tensor", '{"tensors"')],
)
def test_what_the_model_takes_is_shown_as_arguments(kind: str, argument: str) -> None:
    plan = trying.present(model(input={"kind": kind}), None, None, Tier.ACT)
    assert plan.next == "infer_face"
    assert argument in plan.steps[0]


def test_an_expected_label_is_what_to_look_for() -> None:
    assert "Expect 'cat' first" in text(trying.present(model(), None, "cat", Tier.ACT))


def test_a_serving_version_with_one_before_it_can_be_undone() -> None:
    both = model(active="2", versions=[version("1", "ready", previous=True), version("2")])
    assert "version 1 serves again" in trying.present(both, None, None, Tier.OPERATOR).steps[-1]
    assert "`edged models rollback face` returns to 1" in trying.present(both, None, None, Tier.ACT).steps[-1]


def test_a_barred_version_is_not_activated() -> None:
    barred = model(versions=[version(), version("2", "quarantined", reason="SIGSEGV")])
    plan = trying.present(barred, "2", None, Tier.OPERATOR)
    assert plan.known == ["face 2 is barred: SIGSEGV.", "Now version 1 serves."]
    assert plan.steps[0] == "Do not activate it; that is refused."


def test_a_version_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadArgument, match=r"\$\.version: face has no version '9'; installed: 1"):
        trying.present(model(), "9", None, Tier.ACT)
