"""The device's resources, as a peer reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edged.limits import Limits
from edged.mcp.catalog import Tier
from edged.tools.device import Engine
from edged.tools.documents import (
    ConfigDocument,
    DeviceDocument,
    LabelsDocument,
    MetricsDocument,
    ModelDocument,
    NetworkDocument,
)
from tests.rig import room
from tests.rig.desk import MODERN, Desk
from tests.rig.documents import health, network
from tests.rig.fastloop import FastLoop
from tests.rig.shown import Shown, document, shown

SHAPES: dict[str, type[msgspec.Struct]] = {
    "edged://device": DeviceDocument,
    "edged://metrics": MetricsDocument,
    "edged://network": NetworkDocument,
    "edged://config": ConfigDocument,
    "edged://models/tiny": ModelDocument,
    "edged://models/tiny/labels": LabelsDocument,
}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shown]:
    with shown(tmp_path / "models") as device:
        yield device


@pytest.fixture
def device(bare: Shown) -> Shown:
    bare.install("tiny")
    return bare


def listed(desk: Desk) -> list[str]:
    return [one["uri"] for one in desk.ask_modern("resources/list")["result"]["resources"]]


def complete(desk: Desk, uri: str, name: str, typed: str) -> list[str]:
    params = {"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": name, "value": typed}}
    values: list[str] = desk.ask_modern("completion/complete", params)["result"]["completion"]["values"]
    return values


def tick(device: Shown, seconds: float) -> None:
    """Let time pass for whoever has subscribed."""

    async def scenario() -> None:
        ticking = asyncio.get_running_loop().create_task(device.showing.ticker.run())
        await asyncio.sleep(seconds)
        ticking.cancel()

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        runner.run(scenario())


class TestWhatIsListed:
    def test_everybody_sees_the_device_its_figures_and_its_models(self, device: Shown) -> None:
        assert listed(device.desk(Tier.READ)) == [
            "edged://device",
            "edged://metrics",
            "edged://models/tiny",
            "edged://network",
        ]

    def test_only_operators_see_the_config(self, device: Shown) -> None:
        assert "edged://config" in listed(device.desk(Tier.OPERATOR))
        assert "edged://config" not in listed(device.desk(Tier.ACT))
        error = device.desk(Tier.ACT).ask_modern("resources/read", {"uri": "edged://config"})["error"]
        assert error["code"] == -32602

    def test_models_are_a_template_too(self, device: Shown) -> None:
        found = device.desk().ask_modern("resources/templates/list")["result"]["resourceTemplates"]
        assert [one["uriTemplate"] for one in found] == [
            "edged://models/{name}",
            "edged://models/{name}/labels",
        ]

    def test_a_model_is_on_the_list_exactly_while_it_is_installed(self, device: Shown) -> None:
        device.install("other")
        assert "edged://models/other" in listed(device.desk())
        device.library.remove("other")
        device.refresh()
        assert "edged://models/other" not in listed(device.desk())

    def test_an_installed_model_is_listed_by_its_title(self, device: Shown) -> None:
        found = device.desk().ask_modern("resources/list")["result"]["resources"]
        (tiny,) = [one for one in found if one["uri"] == "edged://models/tiny"]
        assert (tiny["name"], tiny["title"], tiny["mimeType"]) == ("tiny", "A matrix", "application/json")


class TestWhatTheyHold:
    @pytest.mark.parametrize("uri", SHAPES)
    def test_each_has_exactly_the_shape_that_is_documented(self, device: Shown, uri: str) -> None:
        held = document(device.desk(), uri)
        again = msgspec.json.encode(msgspec.convert(held, SHAPES[uri]))
        assert msgspec.json.decode(again) == held

    @pytest.mark.parametrize("uri", SHAPES)
    def test_each_says_how_long_it_may_be_kept(self, device: Shown, uri: str) -> None:
        result = device.desk().ask_modern("resources/read", {"uri": uri})["result"]
        live = uri not in ("edged://config", "edged://models/tiny/labels")
        assert result["ttlMs"] == (1_000 if live else 60_000)
        assert result["cacheScope"] == ("private" if uri == "edged://config" else "public")

    def test_the_device_says_what_it_is_and_how(self, device: Shown) -> None:
        device.limits = Limits(concurrency=2, reason="75 °C is hot")
        device.engine = Engine(runtime="ai-edge-litert 2", kernels="native", kernels_reason="compiled")
        held = document(device.desk(), "edged://device")
        assert held["board"]["cpus"] >= 1
        assert held["limits"]["reason"] == "75 °C is hot"
        assert held["engine"]["kernels"] == "native"
        assert held["models"] == [
            {
                "name": "tiny",
                "version": "1",
                "title": "A matrix",
                "tool": "infer_tiny",
                "uri": "edged://models/tiny",
            }
        ]

    def test_every_reading_has_an_age_and_a_source_and_what_is_unknown_is_null(self, device: Shown) -> None:
        desk = device.desk()
        document(desk, "edged://device")
        device.now_s += 0.5
        readings = document(desk, "edged://device")["readings"]
        assert readings["heat.hottest"] == {
            "value": 41.5,
            "unit": "°C",
            "source": "psutil.sensors_temperatures",
            "age_s": 0.5,
            "note": "",
        }
        assert readings["battery.percent"]["value"] is None
        assert "no such sensor" in readings["battery.percent"]["note"]
        assert all(reading["source"] for reading in readings.values())

    def test_the_board_is_looked_at_once_a_second_however_many_ask(self, device: Shown) -> None:
        device.looks, device.now_s = 0, device.now_s + 10.0
        for _ in range(50):
            document(device.desk(), "edged://metrics")
            document(device.desk(), "edged://device")
        assert device.looks == 1
        device.now_s += 1.0
        document(device.desk(), "edged://metrics")
        assert device.looks == 2

    def test_a_model_says_what_it_takes_and_gives_and_what_its_trial_measured(self, device: Shown) -> None:
        held = document(device.desk(), "edged://models/tiny")
        assert held["tool"] == "infer_tiny"
        assert held["input"]["names"] == ["a", "b"]
        assert held["output"]["kind"] == "classification"
        (version,) = held["versions"]
        assert (version["version"], version["state"]) == ("1", "active")
        assert version["variants"][0]["inputs"][0]["shape"] == [1, 2]
        assert version["variants"][0]["invoke_ms"] > 0

    def test_labels_are_linked_and_not_repeated(self, device: Shown) -> None:
        held = document(device.desk(), "edged://models/tiny")
        assert (held["labels"], held["labels_uri"]) == (2, "edged://models/tiny/labels")
        assert "labels" not in held["output"]
        assert document(device.desk(), held["labels_uri"])["labels"] == ["left", "right"]

    def test_what_a_model_has_done_is_the_same_in_its_own_document_and_in_the_figures(
        self, device: Shown
    ) -> None:
        device.worked("tiny", {"BadPicture": 3}, invoke=8.0)
        held = document(device.desk(), "edged://models/tiny")["work"]
        assert held == document(device.desk(), "edged://metrics")["work"]["tiny"]
        assert (held["answered"], held["errors"]) == (100, {"BadPicture": 3})
        assert held["stages"]["invoke"]["mean_ms"] == 8.0

    def test_a_barred_version_says_why(self, device: Shown) -> None:
        device.library.quarantine("tiny", "1", "it killed the daemon")
        device.refresh()
        held = document(device.desk(), "edged://models/tiny")
        assert (held["active"], held["tool"]) == (None, None)
        assert held["versions"][0]["reason"] == "it killed the daemon"
        assert held["title"] == "A matrix"

    def test_a_version_whose_manifest_is_damaged_is_still_described_as_far_as_it_can_be(
        self, device: Shown, tmp_path: Path
    ) -> None:
        manifest = tmp_path / "models" / "tiny" / "1" / "manifest.toml"
        manifest.write_text(manifest.read_text() + "\n# damage\n")
        device.library = room.library(tmp_path / "models")  # what was read before is remembered
        device.refresh()
        held = document(device.desk(), "edged://models/tiny")
        assert (held["title"], held["input"], held["labels"], held["labels_uri"]) == (None, None, 0, None)
        assert held["versions"][0]["variants"] == []
        assert device.desk().ask_modern("resources/read", {"uri": "edged://models/tiny/labels"})["error"]

    def test_the_config_is_whole_but_for_its_secrets(self, device: Shown) -> None:
        held = document(device.desk(), "edged://config")
        assert held == {
            "config": {"broker": {"host": "localhost", "password": "(set)"}},
            "masked": ["broker.password"],
            "live": ["log"],
            "waiting": ["broker"],
        }

    def test_a_device_without_brokers_says_so(self, device: Shown) -> None:
        held = document(device.desk(Tier.READ), "edged://network")
        assert (held["state"], held["connections"], held["spool"]) == ("no brokers configured", {}, None)

    @pytest.mark.parametrize(
        "uri",
        [
            "edged://models/absent",
            "edged://models/absent/labels",
            "edged://models/..%2Ftiny",
            "edged://other",
        ],
    )
    def test_what_is_not_there_is_an_error_and_never_an_empty_document(self, device: Shown, uri: str) -> None:
        error = device.desk().ask_modern("resources/read", {"uri": uri})["error"]
        assert error["code"] == -32602


class TestCompletion:
    def test_models_are_completed_by_name(self, device: Shown) -> None:
        device.install("titan")
        device.install("other")
        assert complete(device.desk(), "edged://models/{name}", "name", "ti") == ["tiny", "titan"]
        assert complete(device.desk(), "edged://models/{name}", "name", "") == ["other", "tiny", "titan"]

    def test_only_models_with_labels_are_offered_where_labels_are_read(self, device: Shown) -> None:
        device.install("numbers", output='kind = "tensors"')
        assert complete(device.desk(), "edged://models/{name}/labels", "name", "") == ["tiny"]


class TestChanges:
    def updates(self, sent: list[Any]) -> list[str]:
        return [m["params"]["uri"] for m in sent if m.get("method") == "notifications/resources/updated"]

    def listen(self, desk: Desk, *uris: str) -> None:
        asked = {"resourceSubscriptions": list(uris), "resourcesListChanged": True}
        params = {"notifications": asked, "_meta": MODERN}
        message = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}
        (acknowledged,) = desk.tell(json.dumps(message))
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"

    def test_a_subscriber_hears_that_another_version_serves(self, device: Shown) -> None:
        desk = device.desk(Tier.READ)
        self.listen(desk, "edged://models/tiny", "edged://device")
        before = len(desk.sent)
        device.install("tiny", "2")
        assert self.updates(desk.sent[before:]) == ["edged://models/tiny", "edged://device"]

    def test_a_handshake_peer_hears_the_same(self, device: Shown) -> None:
        desk = device.desk(Tier.READ)
        desk.shake_hands("2025-11-25")
        assert desk.ask("resources/subscribe", {"uri": "edged://models/tiny"})["result"] == {}
        before = len(desk.sent)
        device.install("tiny", "2")
        assert self.updates(desk.sent[before:]) == ["edged://models/tiny"]

    def test_a_subscriber_to_the_network_hears_of_a_lost_connection(self, device: Shown) -> None:
        desk = device.desk(Tier.READ)
        device.network = network()
        self.listen(desk, "edged://network")
        device.network = network(mcp=health(None, "refused"))
        before = len(desk.sent)
        tick(device, 5.0)
        assert self.updates(desk.sent[before:]) == ["edged://network"]

    def test_nothing_is_watched_once_the_last_subscriber_is_gone(self, device: Shown) -> None:
        seen: list[tuple[str, bool]] = []
        device.catalog.on_watch(lambda uri, by_anybody: seen.append((uri, by_anybody)))
        first, second = device.desk(), device.desk()
        for desk in (first, second):
            self.listen(desk, "edged://metrics")
        first.hang_up()
        assert seen == [("edged://metrics", True)]
        second.notify("notifications/cancelled", {"requestId": 7})
        assert seen == [("edged://metrics", True), ("edged://metrics", False)]

    def test_a_new_model_changes_the_list_and_a_new_version_does_not(self, device: Shown) -> None:
        desk = device.desk(Tier.READ)
        self.listen(desk)
        before = len(desk.sent)
        device.install("tiny", "2")
        assert desk.sent[before:] == []
        device.install("other")
        assert [m["method"] for m in desk.sent[before:]] == ["notifications/resources/list_changed"]
