"""Where settings come from: flags, variables, hark.toml, defaults, in this order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hark.catalogue.toml_lines import Document, NotToml, read_file
from hark.catalogue.wording import no_such
from hark.config import kinds
from hark.config.settings import NAMES, PATHS, READ, SECRETS, Settings, disorders, in_words
from hark.errors import BadInput, CatalogueFaults

PREFIX = "HARK_"
CATALOGUE_FILE = "hark.toml"


class SettingFaults(BadInput):
    """All that is wrong with the settings, one a line, each with where it was set."""


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting for people: its value in words (never a secret), and where it comes from.

    `origin` is `--send-chunk`, `HARK_SEND_CHUNK`, `hark.toml:12`, `working directory` (for the catalogue)
    or `default`.
    """

    name: str
    value: str
    origin: str


def load_settings(overrides: Mapping[str, object], environment: Mapping[str, str], directory: Path) -> Settings:
    """Gather and check all settings.

    Args:
        overrides: what flags say, by the settings' names; None: the flag was not given.
        environment: `os.environ`.
        directory: where hark.toml is looked for when no catalogue is named: the working directory.

    Raises:
        SettingFaults: all that is wrong with them.
        CatalogueFaults: the file is no TOML.
    """
    return _gather(overrides, environment, directory).settings()


def explain_settings(overrides: Mapping[str, object], environment: Mapping[str, str], directory: Path) -> list[InForce]:
    """Which value of each setting is in force, and from where. Takes and raises what `load_settings` does."""
    gathered = _gather(overrides, environment, directory)
    settings = gathered.settings()
    return [InForce(name, in_words(name, getattr(settings, name)), gathered.origin(name)) for name in NAMES]


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """`HARK_…` variables that are nearly, but not quite, those of a setting, each with what was probably meant."""
    known = [variable(name) for name in NAMES]
    ours = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    told = ((name, no_such("setting", name, known)) for name in ours)
    return [f"{name}  {what}" for name, what in told if "did you mean" in what]


def variable(name: str) -> str:
    """The environment's name of a setting."""
    return PREFIX + name.upper()


def flag(name: str) -> str:
    """The command line's name of a setting."""
    return "--" + name.replace("_", "-")


# Gathering -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as somebody wrote it, and where."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class _Gathered:
    """For each setting that somebody set, what comes first; and what is wrong with the file's own list."""

    given: Mapping[str, _Given]
    faults: tuple[tuple[str, str], ...]

    def origin(self, name: str) -> str:
        return self.given[name].origin if name in self.given else "default"

    def settings(self) -> Settings:
        """All of them, checked.

        Raises:
            SettingFaults: all that is wrong.
        """
        values, faults = self._values()
        settings = Settings(**values)
        if not faults:
            faults = [(self.origin(name), f"{name}: {what}") for name, what in disorders(settings)]
        if faults:
            width = max(len(origin) for origin, _ in faults)
            raise SettingFaults("\n".join(f"{origin:<{width}}  {what}" for origin, what in faults))
        return settings

    def _values(self) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        values: dict[str, Any] = {}
        faults = list(self.faults)
        for name, given in self.given.items():
            try:
                values[name] = READ[name](given.value)
            except BadInput as refusal:
                faults.append((given.origin, f"{name}: {refusal}"))
        return values, faults


def _gather(overrides: Mapping[str, object], environment: Mapping[str, str], directory: Path) -> _Gathered:
    flags = {name: _Given(value, flag(name)) for name, value in overrides.items() if value is not None}
    _refuse_strangers(flags)
    variables = {
        name: _Given(environment[variable(name)], variable(name)) for name in NAMES if environment.get(variable(name))
    }
    named = {**variables, **flags}
    path, found = _catalogue_path(named.get("catalogue"), directory)
    if path is None:
        return _Gathered(named, ())
    in_file, faults = _from_file(path)
    return _Gathered({**in_file, **found, **named}, faults)


def _refuse_strangers(flags: Mapping[str, _Given]) -> None:
    """A flag that is no setting is a mistake of Hark's own, not of its user."""
    strangers = flags.keys() - set(NAMES)
    if strangers:
        raise TypeError(f"no such settings: {', '.join(sorted(strangers))}")


def _catalogue_path(named: _Given | None, directory: Path) -> tuple[Path | None, dict[str, _Given]]:
    """The file to read, and the setting that says so where nobody named it."""
    if named is not None:
        return _named_path(named.value), {}
    beside = directory / CATALOGUE_FILE
    if not beside.is_file():
        return None, {}
    return beside, {"catalogue": _Given(beside, "working directory")}


def _named_path(value: object) -> Path | None:
    try:
        return kinds.path(value)
    except BadInput:
        return None  # noted once more, and kept, when all settings are read


def _from_file(path: Path) -> tuple[dict[str, _Given], tuple[tuple[str, str], ...]]:
    try:
        document = read_file(path)
    except NotToml as refusal:
        raise CatalogueFaults(str(path), [refusal.fault]) from None
    section = document.values.get("settings", {})
    if not isinstance(section, dict):
        return {}, ((_place(path, document, None), "settings: is not a table; write [settings] and its keys below"),)
    faults = tuple((_place(path, document, name), f"{name}: {what}") for name, what in _misplaced(section))
    refused = {name for name, _ in _misplaced(section)}
    given = {
        name: _Given(_beside(path, name, value), _place(path, document, name))
        for name, value in section.items()
        if name not in refused
    }
    return given, faults


def _misplaced(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name not in NAMES:
            yield name, no_such("setting", name, NAMES)
        elif name in SECRETS:
            yield name, f"is a secret; secrets come from the environment: set {variable(name)}"
        elif name == "catalogue":
            yield name, f"is the file that this stands in; name it by {flag(name)} or {variable(name)}"


def _beside(path: Path, name: str, value: object) -> object:
    """A relative path in a file is meant from where the file is."""
    is_relative = name in PATHS and isinstance(value, str) and value and not value.startswith("~")
    return str(path.parent / str(value)) if is_relative else value


def _place(path: Path, document: Document, name: str | None) -> str:
    line = document.line_of(("settings",) if name is None else ("settings", name))
    return f"{path}:{line}"
