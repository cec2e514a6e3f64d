"""The register: a pipeline's name -> the module that describes it, loaded only when somebody asks for it.

Others add theirs with `pipelines.NAME = "their_package.register"` in the settings: a module that has `PIPELINE`, a
`dmtools.control.entry.Pipeline`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from dmtools.command.run import Refused
from dmtools.control.entry import Pipeline, Question
from dmtools.settings import Settings
from dmtools.settings import load as load_settings

OWN = {name: f"dmtools.{name}.register" for name in ("migrate", "daq", "lta", "dqm", "datalogger")}


class NotHere(Exception):
    """The pipeline is known and can't be loaded; the text says why."""


def modules(settings: Settings) -> dict[str, str]:
    """Every registered name and its module; ours can't be replaced."""
    return {**settings.pipelines, **OWN}


def load(name: str, settings: Settings) -> Pipeline:
    """The entry of one pipeline. Raises NotHere."""
    module = modules(settings)[name]
    try:
        found = importlib.import_module(module).PIPELINE
    except ModuleNotFoundError as problem:
        raise NotHere(f"the pipeline {name} is not installed here: there is no module {problem.name}") from None
    except Exception as problem:  # noqa: BLE001 - a third party's module must not take our commands down
        raise NotHere(f"the pipeline {name} can't be loaded from {module}: {type(problem).__name__}: {problem}") from None
    if not isinstance(found, Pipeline) or found.name != name:
        raise NotHere(f"{module}.PIPELINE does not describe a pipeline called {name}")
    return found


def present(settings: Settings) -> tuple[dict[str, Pipeline], list[str]]:
    """The pipelines that are installed here, and a sentence for each of a third party that can't be loaded."""
    found: dict[str, Pipeline] = {}
    troubles: list[str] = []
    for name in modules(settings):
        try:
            found[name] = load(name, settings)
        except NotHere as problem:
            if name not in OWN:
                troubles.append(str(problem))
    return found, troubles


def asked(entries: Iterable[Pipeline], what: str, question: Question, troubles: list[str]) -> list[Any]:
    """What all pipelines answer to dm-trace. A third party's function that fails adds a sentence to `troubles`, no more."""
    found: list[Any] = []
    for entry in entries:
        try:
            found += list(entry.ask(what, question))
        except Exception as problem:
            if entry.name in OWN:
                raise
            troubles.append(f"the pipeline {entry.name} can't be asked: {type(problem).__name__}: {problem}")
    return found


def one(name: str, settings: Settings) -> Pipeline:
    """The entry that a person named. Raises Refused with the near name, or when it isn't installed."""
    known = modules(settings)
    if name.lower() not in known:
        raise Refused(f"there is no pipeline {name!r}{near(name, known)}")
    try:
        return load(name.lower(), settings)
    except NotHere as problem:
        raise Refused(str(problem)) from None


def scope(text: str, settings: Settings) -> str:
    """What a person holds: `all`, PIPELINE or PIPELINE/COMPONENT, in any case. Raises Refused with the near name."""
    name, slash, part = text.strip().lower().partition("/")
    if name == "all" and not slash:
        return "all"
    known = modules(settings)
    if name not in known:
        whole = [f"{n}/{c}" for n, p in present(settings)[0].items() for c in p.component_names()]
        commands = {scope.replace("/", "-"): scope for scope in whole}
        if text.lower() in commands:
            return commands[text.lower()]
        raise Refused(f"there is no pipeline {name!r}{near(text.lower(), [*known, 'all', *whole, *commands])}")
    if not slash:
        return name
    components = one(name, settings).component_names()
    if part not in components:
        raise Refused(f"the pipeline {name} has no component {part!r}{near(part, components)}")
    return f"{name}/{part}"


def names(options: dict[str, Any]) -> list[str]:
    """The pipelines that are installed here, for the shell; `options` of the command line may name HOME or settings."""
    return list(present(load_settings(options.get("config"), options.get("home")))[0])


def scopes(options: dict[str, Any]) -> list[str]:
    """The same, and their components."""
    found = present(load_settings(options.get("config"), options.get("home")))[0]
    return ["all", *found, *(f"{name}/{part}" for name, entry in found.items() for part in entry.component_names())]


def near(word: str, known: object) -> str:
    """`; did you mean 'migrate'?`, or what there is."""
    words = [str(one) for one in known]  # type: ignore[attr-defined]
    found = get_close_matches(word, words, n=1)
    return f"; did you mean {found[0]!r}?" if found else f"; there are: {', '.join(sorted(w for w in words if '-' not in w))}"


def problems(settings: Settings) -> list[str]:
    """What is wrong in the settings that only the register knows: modules that don't load, scopes that don't exist."""
    found = present(settings)[1]
    found += [f"pipelines.{name}: the name is taken by one of ours" for name in settings.pipelines if name in OWN]
    for number, outage in enumerate(settings.control.calendar, 1):
        try:
            scope(outage.scope, settings)
        except Refused as problem:
            found.append(f"control.calendar entry {number}: scope: {problem}")
    return found
