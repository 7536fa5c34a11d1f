"""The device's prompts, as a peer gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.limits import Limits
from edged.mcp.catalog import Tier
from tests.rig.desk import Desk
from tests.rig.documents import health, network
from tests.rig.shown import Shown, document, shown

DIAGNOSES = ["diagnose_failing", "diagnose_hot", "diagnose_slow"]
TEXT_MAX = 2000
"""Characters that leave a small model room to think: some 500 tokens."""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Shown]:
    with shown(tmp_path / "models") as device:
        device.install("tiny")
        yield device


def get(desk: Desk, prompt: str, **arguments: str) -> tuple[str, list[str]]:
    """The text, and the resources it points to."""
    result = desk.ask_modern("prompts/get", {"name": prompt, "arguments": arguments})["result"]
    first, *others = result["messages"]
    assert {message["role"] for message in result["messages"]} == {"user"}
    assert {message["content"]["type"] for message in others} <= {"resource_link"}
    return first["content"]["text"], [message["content"]["uri"] for message in others]


def refusal(desk: Desk, prompt: str, **arguments: str) -> Any:
    return desk.ask_modern("prompts/get", {"name": prompt, "arguments": arguments})["error"]


def complete(desk: Desk, name: str, typed: str, **others: str) -> list[str]:
    params = {
        "ref": {"type": "ref/prompt", "name": "try_model"},
        "argument": {"name": name, "value": typed},
        "context": {"arguments": others},
    }
    values: list[str] = desk.ask_modern("completion/complete", params)["result"]["completion"]["values"]
    return values


class TestWhatIsListed:
    def test_everybody_may_diagnose_and_who_may_act_may_try_a_model(self, device: Shown) -> None:
        def names(tier: Tier) -> list[str]:
            return [one["name"] for one in device.desk(tier).ask_modern("prompts/list")["result"]["prompts"]]

        assert names(Tier.READ) == DIAGNOSES
        assert names(Tier.ACT) == [*DIAGNOSES, "try_model"]

    def test_arguments_say_which_are_required(self, device: Shown) -> None:
        found = device.desk().ask_modern("prompts/list")["result"]["prompts"]
        (trial,) = [one for one in found if one["name"] == "try_model"]
        assert [(a["name"], a.get("required", False)) for a in trial["arguments"]] == [
            ("model", True),
            ("version", False),
            ("label", False),
        ]


class TestDiagnosis:
    @pytest.mark.parametrize("prompt", DIAGNOSES)
    @pytest.mark.parametrize("tier", Tier)
    def test_it_is_short_and_ends_with_a_tool_the_caller_may_call(
        self, device: Shown, prompt: str, tier: Tier
    ) -> None:
        text, links = get(device.desk(tier), prompt)
        assert len(text) <= TEXT_MAX
        assert text.rpartition("Next tool: ")[2] in ("device_status", "models_list")
        assert set(links) >= {"edged://device", "edged://metrics"}

    @pytest.mark.parametrize("prompt", DIAGNOSES)
    def test_every_link_can_be_read(self, device: Shown, prompt: str) -> None:
        device.worked("tiny", {"RuntimeFault": 3}, invoke=90.0)
        desk = device.desk(Tier.READ)
        _, links = get(desk, prompt)
        assert "edged://models/tiny" in links
        assert all(document(desk, uri) for uri in links)

    def test_what_is_known_is_from_this_moment(self, device: Shown) -> None:
        assert "Nothing was asked of it" in get(device.desk(), "diagnose_slow")[0]
        device.worked("tiny", invoke=90.0)
        device.limits = Limits(concurrency=1, reason="82 °C is critical")
        text, links = get(device.desk(), "diagnose_slow")
        assert (
            "- The device holds work back: 82 °C is critical.\n- tiny: 96% of 94.0 ms go into invoke" in text
        )
        assert links == ["edged://device", "edged://models/tiny", "edged://metrics"]

    def test_a_hot_board_is_named_with_what_heats_it(self, device: Shown) -> None:
        device.readings = msgspec.structs.replace(device.readings, temperature_c=81.0)
        device.now_s += 10
        device.worked("tiny")
        text, _ = get(device.desk(), "diagnose_hot")
        assert "The hottest sensor says 81 °C." in text
        assert "tiny did 100% of the work" in text

    def test_a_barred_version_is_named_and_only_operators_are_told_to_undo_it(self, device: Shown) -> None:
        device.library.quarantine("tiny", "1", "SIGSEGV in invoke")
        device.refresh()
        for_operator, _ = get(device.desk(), "diagnose_failing")
        for_others, _ = get(device.desk(Tier.ACT), "diagnose_failing")
        assert "tiny 1 is barred: SIGSEGV in invoke; no version of it serves." in for_others
        assert "models_rollback" in for_operator
        assert "models_rollback" not in for_others
        assert "tell an operator" in for_others

    def test_a_network_that_is_away_is_told_with_where_to_read_more(self, device: Shown) -> None:
        device.network = network(mcp=health(None, "refused"), management=health(None, "refused"))
        text, links = get(device.desk(), "diagnose_failing")
        assert "- Network: not connected: refused." in text
        assert "edged://network" in links

    def test_one_model_can_be_asked_about(self, device: Shown) -> None:
        device.install("other")
        device.worked("other", {"RuntimeFault": 9})
        text, links = get(device.desk(), "diagnose_failing", model="tiny")
        assert text.startswith("Calls of tiny fail.")
        assert "edged://models/other" not in links

    def test_more_than_a_few_findings_are_left_to_the_resources(self, device: Shown) -> None:
        for number in range(9):
            device.install(f"broken{number}")
            device.library.quarantine(f"broken{number}", "1", "it killed the daemon")
        device.refresh()
        text, links = get(device.desk(), "diagnose_failing")
        assert "3 more in the resources below." in text
        assert len(text) <= TEXT_MAX
        assert len(links) <= 8

    def test_a_model_that_is_not_there_is_refused_with_those_that_are(self, device: Shown) -> None:
        error = refusal(device.desk(), "diagnose_slow", model="tinny")
        assert error["code"] == -32602
        assert "installed: tiny" in error["message"]


class TestTryingAModel:
    def test_it_goes_on_from_where_the_model_stands(self, device: Shown) -> None:
        desk = device.desk()
        assert get(desk, "try_model", model="new")[0].endswith("Next tool: models_add")
        assert get(desk, "try_model", model="tiny")[0].endswith("Next tool: infer_tiny")
        device.install("tiny", "2")
        device.library.rollback("tiny")
        device.refresh()
        text, links = get(desk, "try_model", model="tiny", version="2")
        assert text.endswith('Next tool: models_activate {"name":"tiny","version":"2"}')
        assert "tiny 2 is installed and passed its trial; version 1 serves until then." in text
        assert links == ["edged://models/tiny", "edged://models/tiny/labels"]
        device.library.quarantine("tiny", "2", "SIGSEGV")
        device.refresh()
        assert "tiny 2 is barred: SIGSEGV." in get(desk, "try_model", model="tiny", version="2")[0]

    def test_an_expected_label_has_to_be_one_of_the_models(self, device: Shown) -> None:
        assert "Expect 'left' first" in get(device.desk(), "try_model", model="tiny", label="left")[0]
        error = refusal(device.desk(), "try_model", model="tiny", label="lefft")
        assert "near it: 'left'" in error["message"]

    def test_the_model_is_required(self, device: Shown) -> None:
        assert refusal(device.desk(), "try_model")["code"] == -32602


class TestCompletion:
    def test_versions_and_labels_are_those_of_the_model_given_before(self, device: Shown) -> None:
        device.install("other", "2.0", output='kind = "classification"\nlabels = ["up", "down"]')
        desk = device.desk()
        assert complete(desk, "model", "o") == ["other"]
        assert complete(desk, "version", "", model="other") == ["2.0"]
        assert complete(desk, "label", "d", model="other") == ["down"]
        assert complete(desk, "label", "", model="tiny") == ["left", "right"]

    @pytest.mark.parametrize("others", [{}, {"model": "absent"}])
    def test_without_a_known_model_there_is_nothing_to_suggest(
        self, device: Shown, others: dict[str, str]
    ) -> None:
        assert complete(device.desk(), "version", "", **others) == []
        assert complete(device.desk(), "label", "", **others) == []
