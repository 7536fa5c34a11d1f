"""Openings of a conversation that walk an agent through a job on this device.

Each is made from the device's state at that moment: what is known in a few sentences, what to do in a few steps,
which tool to call next, and links to read on demand. A step that needs a higher tier than the caller's names whom
to ask instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeAlias

from edged.errors import BadArgument
from edged.mcp.catalog import Argument, Call, Link, Prompt, PromptMessage, Text, Tier, among
from edged.tools import diagnosis, trying
from edged.tools.diagnosis import Figures, Finding
from edged.tools.documents import ModelDocument
from edged.tools.uris import DEVICE, JSON, METRICS, NETWORK
from edged.tools.view import View
from edged.tools.why import figures_of

MAX_FINDINGS: Final = 6
"""What a small model can weigh at once; the rest is behind the links."""
MAX_USUAL: Final = 2
"""Models of which is said what they did, as a measure."""
Suggestions: TypeAlias = Sequence[str] | Awaitable[Sequence[str]]

LINKS: Final[Mapping[str, tuple[str, str]]] = {
    DEVICE: ("device", "The board, its readings, limits and why"),
    METRICS: ("metrics", "Answers, errors and times of every model"),
    NETWORK: ("network", "Brokers, who calls over them, and what has not been told"),
}


class Walk(NamedTuple):
    """What a prompt says."""

    job: str
    known: Sequence[str]
    steps: Sequence[str]
    next: str
    """The tool to call, with its arguments where they are known."""
    links: Sequence[str]


class Prompts:
    """The prompts, over one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    def offers(self) -> list[Prompt]:
        """Every prompt."""
        one_model = Argument(
            name="model", title="Model", description="Default: every model", completer=among(self._names)
        )
        return [
            Prompt(
                name="diagnose_slow",
                title="Why is it slow?",
                description="Walks through what makes answers take long here, from this device's own figures.",
                arguments=(one_model,),
                get=lambda call, given: self._diagnose(SLOW, call, given),
                tier=Tier.READ,
            ),
            Prompt(
                name="diagnose_hot",
                title="Why is it hot?",
                description="Walks through what heats the board and how to give it less to do.",
                get=lambda call, given: self._diagnose(HOT, call, given),
                tier=Tier.READ,
            ),
            Prompt(
                name="diagnose_failing",
                title="Why does it fail?",
                description="Walks through errors, barred model versions and what the device lacks.",
                arguments=(one_model,),
                get=lambda call, given: self._diagnose(FAILING, call, given),
                tier=Tier.READ,
            ),
            Prompt(
                name="try_model",
                title="Try a model",
                description="Walks through installing, serving, testing and, if it is no good, undoing a version.",
                arguments=(
                    Argument(
                        name="model",
                        title="Model",
                        description="Its name; one that is not installed is walked through from there",
                        required=True,
                        completer=among(self._names),
                    ),
                    Argument(
                        name="version",
                        title="Version",
                        description="Default: the one that serves, else the last installed",
                        completer=self._versions,
                    ),
                    Argument(
                        name="label",
                        title="Label",
                        description="What you expect of your test input",
                        completer=self._labels,
                    ),
                ),
                get=self._try,
                tier=Tier.ACT,
            ),
        ]

    def _diagnose(self, what: Diagnosis, call: Call, given: Mapping[str, str]) -> list[PromptMessage]:
        name = given.get("model")
        figures = figures_of(self._view, name)
        findings = what.look(figures)
        links = dict.fromkeys(finding.uri for finding in findings[:MAX_FINDINGS])
        walk = Walk(
            job=what.job.format(whom=name or "this device"),
            known=_known(findings, figures.models),
            steps=[*what.steps, what.operators if call.principal.tier >= Tier.OPERATOR else what.others],
            next=what.next,
            links=list(dict.fromkeys([*links, *what.links])),
        )
        return self._messages(walk)

    def _try(self, call: Call, given: Mapping[str, str]) -> list[PromptMessage]:
        name, label = given["model"], given.get("label")
        if name not in self._view.models:
            known, steps, then = trying.absent(name, sorted(self._view.models), call.principal.tier)
            return self._messages(Walk(f"Try the model {name} on this device.", known, steps, then, [DEVICE]))
        document = self._view.model(name)
        if label is not None:
            _check_label(label, self._view.models[name].labels)
        known, steps, then = trying.present(document, given.get("version"), label, call.principal.tier)
        links = [document.uri, *([document.labels_uri] if document.labels_uri else [])]
        return self._messages(Walk(f"Try the model {name} on this device.", known, steps, then, links))

    def _messages(self, walk: Walk) -> list[PromptMessage]:
        known = "\n".join(f"- {one}" for one in walk.known)
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(walk.steps, 1))
        text = f"{walk.job}\n\nKnown now:\n{known}\n\nDo this:\n{steps}\n\nNext tool: {walk.next}"
        return [
            PromptMessage("user", Text(text)),
            *(PromptMessage("user", self._link(u)) for u in walk.links),
        ]

    def _link(self, uri: str) -> Link:
        if uri in LINKS:
            name, description = LINKS[uri]
            return Link(uri=uri, name=name, description=description, mime=JSON)
        name = uri.removeprefix("edged://models/").replace("/", " ")
        return Link(uri=uri, name=name, description=f"Model {name}", mime=JSON)

    # completion

    def _names(self) -> Sequence[str]:
        return list(self._view.models)

    def _versions(self, call: Call, typed: str, others: Mapping[str, str]) -> Suggestions:
        installed = self._view.models.get(others.get("model", ""))
        names = [version.slot.version for version in installed.versions] if installed else []
        return among(lambda: names)(call, typed, others)

    def _labels(self, call: Call, typed: str, others: Mapping[str, str]) -> Suggestions:
        installed = self._view.models.get(others.get("model", ""))
        labels = installed.labels if installed else ()
        return among(lambda: labels)(call, typed, others)


class Diagnosis(NamedTuple):
    """One of the three diagnoses: what it looks at, and what to do with what it finds."""

    job: str
    look: Callable[[Figures], list[Finding]]
    steps: tuple[str, str]
    operators: str
    """The last step, for who may change models."""
    others: str
    """Likewise for who may not."""
    links: tuple[str, str]
    next: str


SLOW: Final = Diagnosis(
    job="Answers of {whom} seem slow. Find out why, and say in two sentences what would help.",
    look=diagnosis.slow,
    steps=(
        "Read edged://metrics: the stage with the largest mean_ms in work.<model>.stages is where the time goes.",
        "Ask the slow model twice and compare ran.stages: the first call after a start also loads the model.",
    ),
    operators="If invoke is the largest, ask with a cheaper variant; models_rollback undoes the last activation.",
    others="If invoke is the largest, ask with a cheaper variant; another version is an operator's to serve.",
    links=(METRICS, DEVICE),
    next="device_status",
)
_OTHER_HEAT: Final = (
    "If the load is higher than the work here explains, another program heats the board: say so."
)
HOT: Final = Diagnosis(
    job="The board of {whom} is hot, or holds work back. Find out what heats it, and give it less to do.",
    look=diagnosis.hot,
    steps=(
        "Read edged://device: readings heat.* and load.1min, limits and its reason. null is unknown, not cold.",
        "Send the busiest model fewer or smaller inputs, or ask for a cheaper variant; look again after a minute.",
    ),
    operators=_OTHER_HEAT,
    others=_OTHER_HEAT,
    links=(DEVICE, METRICS),
    next="device_status",
)
FAILING: Final = Diagnosis(
    job="Calls of {whom} fail. Find out whether the calls, the model or the device are at fault.",
    look=diagnosis.failing,
    steps=(
        "Read work.<model>.errors in edged://metrics. What starts with Bad, TooLarge: mend the call; BadOutput: see 3.",
        "Overloaded, Throttled, DeadlineExceeded, NotReady: wait retry_after_s, then ask again.",
    ),
    operators="RuntimeFault, BadOutput, a barred version: models_rollback, or a mended version with models_add.",
    others="RuntimeFault, BadOutput, a barred version: tell an operator, `edged models rollback NAME`.",
    links=(METRICS, DEVICE),
    next="models_list",
)


def _known(findings: Sequence[Finding], models: Sequence[ModelDocument]) -> list[str]:
    """The findings as sentences; where there are none, what that means."""
    said = [finding.says for finding in findings[:MAX_FINDINGS]]
    if left := len(findings) - len(said):
        said.append(f"{left} more in the resources below.")
    said = said or ["Nothing recorded explains it."]
    if not models:
        return [*said, "No model is installed."]
    return said + (
        diagnosis.usual(models, MAX_USUAL) or ["Nothing was asked of it since the daemon started."]
    )


def _check_label(label: str, labels: Sequence[str]) -> None:
    if label not in labels:
        near = ", ".join(map(repr, get_close_matches(label, labels, 3, 0.5)))
        raise BadArgument(
            f"$.label: not one of this model's {len(labels)} labels{near and f'; near it: {near}'}"
        )
