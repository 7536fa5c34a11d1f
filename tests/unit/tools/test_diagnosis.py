from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edged.limits import Limits
from edged.tools import diagnosis
from edged.tools.diagnosis import Figures, Finding
from edged.tools.documents import ModelDocument, VersionPart, Work
from tests.rig.documents import device, model, variant, version, work

HELD = Limits(concurrency=1, reason="82 °C is critical")


def figures(
    *models: ModelDocument, memory_bytes: int = 0, budget: int | None = 256 << 20, **board: Any
) -> Figures:
    return Figures(device(**board), models or [model()], memory_bytes, budget)


def said(findings: list[Finding]) -> str:
    return "\n".join(finding.says for finding in findings)


def failed(**errors: int) -> Work:
    return msgspec.structs.replace(work(), errors=errors)


class TestSlow:
    def test_a_device_in_good_health_gives_no_finding(self) -> None:
        assert diagnosis.slow(figures()) == []

    @pytest.mark.parametrize("stage", diagnosis.STAGE_ADVICE)
    def test_the_stage_that_takes_most_of_the_time_is_named_with_what_helps(self, stage: str) -> None:
        (finding,) = diagnosis.slow(figures(model(work=work(100, None, **{stage: 20.0}))))
        assert finding.says.startswith(f"face: 83% of 24.0 ms go into {stage}; ")
        assert finding.says.endswith(diagnosis.STAGE_ADVICE[stage] + ".")
        assert finding.uri == "edged://models/face"

    def test_limits_are_named_first_with_their_reason(self) -> None:
        found = diagnosis.slow(figures(model(work=work(invoke=50.0)), limits=HELD))
        assert found[0] == Finding("The device holds work back: 82 °C is critical.", "edged://device")

    def test_kernels_that_were_never_compiled_are_named_with_the_remedy(self) -> None:
        assert "`edged kernels build`" in said(diagnosis.slow(figures(kernels="numpy")))

    def test_the_slower_runtime_is_named(self) -> None:
        assert "tflite-runtime 2.14" in said(diagnosis.slow(figures(runtime="tflite-runtime 2.14")))

    def test_others_that_use_the_cpu_are_named_and_an_unknown_load_is_not(self) -> None:
        assert "9.0 programs want 4 CPUs" in said(diagnosis.slow(figures(load_1min=9.0)))
        assert diagnosis.slow(figures(load_1min=None)) == []

    def test_rare_slow_answers_are_named_only_where_there_were_enough(self) -> None:
        assert "one in a hundred" in said(diagnosis.slow(figures(model(work=work(p99_ms=500.0)))))
        assert diagnosis.slow(figures(model(work=work(answered=5, p99_ms=500.0)))) == []

    def test_a_cheaper_variant_is_offered(self) -> None:
        both = version(variants=[variant("f32"), variant("int8", 0.4)])
        assert "variant int8 takes 0.4 of the time of f32" in said(
            diagnosis.slow(figures(model(versions=[both])))
        )

    def test_models_that_push_each_other_out_of_memory_are_named(self) -> None:
        unloaded = model("digits", loaded=[])
        found = diagnosis.slow(figures(model(), unloaded, memory_bytes=250 << 20))
        assert said(found) == (
            "Loaded models take 250 of 256 MiB, and 1 more serve: they are loaded and unloaded in turn."
        )
        assert diagnosis.slow(figures(model(), unloaded, memory_bytes=10 << 20)) == []

    def test_calls_that_were_turned_away_are_counted_by_their_reason(self) -> None:
        found = said(diagnosis.slow(figures(model(work=failed(Overloaded=30, BadPicture=4)))))
        assert found == "face: 30 of 134 calls were turned away (Overloaded 30)."


class TestHot:
    def test_an_unknown_temperature_is_said_to_be_unknown(self) -> None:
        found = diagnosis.hot(figures(model(work=work(answered=0)), heat_hottest=None))
        assert said(found) == "The temperature is unknown: no sensor of this board answers."

    def test_the_hottest_sensor_counts(self) -> None:
        found = diagnosis.hot(figures(heat_hottest=50.0, heat_gpu=77.4))
        assert found[0].says == "The hottest sensor says 77 °C."

    def test_the_model_that_does_most_of_the_work_is_named_with_what_costs_less(self) -> None:
        busy = model(
            "face", work=work(answered=900), versions=[version(variants=[variant(), variant("int8", 0.5)])]
        )
        found = said(diagnosis.hot(figures(busy, model("digits"))))
        assert (
            "face did 90% of the work since the start: 900 answers of 4.0 ms; variant int8 takes 0.5" in found
        )

    def test_waiting_is_no_work(self) -> None:
        waiting, working = model("face", work=work(queue=500.0)), model("digits", work=work(invoke=9.0))
        assert "digits did 75% of the work" in said(diagnosis.hot(figures(waiting, working)))


class TestFailing:
    def test_a_device_in_good_health_gives_no_finding(self) -> None:
        assert diagnosis.failing(figures()) == []

    def test_faults_of_the_device_come_before_those_of_callers(self) -> None:
        errors = failed(BadPicture=7, RuntimeFault=2, Overloaded=1, cancelled=3)
        found = [finding.says for finding in diagnosis.failing(figures(model(work=errors)))]
        assert found == [
            "face: 2 of 113 calls failed, and the device is at fault (RuntimeFault 2).",
            "face: 1 of 113 calls were turned away, and may come again (Overloaded 1).",
            "face: 10 of 113 calls were wrong, and would be again (BadPicture 7, cancelled 3).",
        ]

    def test_a_barred_version_is_named_with_its_reason(self) -> None:
        versions: list[VersionPart] = [version(), version("2", "quarantined", reason="it killed the daemon.")]
        found = diagnosis.failing(figures(model(versions=versions)))
        assert said(found) == "face 2 is barred: it killed the daemon; version 1 serves."

    def test_a_network_that_is_away_is_named(self) -> None:
        away = figures()._replace(network=["not connected: refused"])
        assert diagnosis.failing(away) == [Finding("Network: not connected: refused.", "edged://network")]

    def test_a_model_of_which_nothing_serves_is_named(self) -> None:
        assert "no version of it serves" in said(diagnosis.failing(figures(model(active=None))))

    def test_scarce_memory_is_named_and_an_unknown_one_is_not(self) -> None:
        assert "100 MiB of memory are left of 4096" in said(
            diagnosis.failing(figures(memory_available=100 << 20))
        )
        assert diagnosis.failing(figures(memory_available=None)) == []
