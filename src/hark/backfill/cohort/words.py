"""Which users, in the words of the command line, and in the variables of the task that Hark takes the place of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hark.backfill.cohort.spec import (
    MOST_IDS,
    MOST_PARTS,
    Cohort,
    Difference,
    Everyone,
    Flag,
    Ids,
    Segment,
    Who,
    union_of,
)
from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput
from hark.lists import File, Format, id_fault

VARIABLES = ("USER_IDS", "CSV_PATH", "USE_BUCKET_CSV", "GOOGLE_CLOUD_STORAGE_BUCKET", "GOOGLE_CLOUD_STORAGE_PATH")
"""The variables that `cohort_of` reads."""

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortWords:
    """What `--all`, `--ids`, `--file`, `--from`, `--segment`, `--flag`, `--except-…`, `--column` and `--format` say.

    Each of `ids` and `except_ids` may be several with commas between. `column` and `format` are those of all files.
    """

    everyone: bool = False
    ids: Sequence[str] = ()
    files: Sequence[str] = ()
    urls: Sequence[str] = ()
    segments: Sequence[str] = ()
    flags: Sequence[str] = ()
    except_ids: Sequence[str] = ()
    except_files: Sequence[str] = ()
    except_segments: Sequence[str] = ()
    column: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a command says what others say otherwise.

    Attributes:
        members: the option for whom a flag lets in.
        flag: which one could be meant.
        also: what else says whose.
    """

    members: str = "--flag"
    flag: str = "NAME"
    also: str | None = None


def cohort_of(
    words: CohortWords, environment: Mapping[str, str] | None = None, spelling: Spelling = Spelling()
) -> Cohort:
    """Whom the words mean: the union of all that is named, without all that is excepted.

    USER_IDS stands for `ids` that are not given; CSV_PATH or the bucket's object for `files` and `urls`. With
    USE_BUCKET_CSV=true it is the object GOOGLE_CLOUD_STORAGE_PATH of GOOGLE_CLOUD_STORAGE_BUCKET, in place of CSV_PATH.
    That nobody was named never means everybody: only `everyone` does.

    Args:
        environment: where the variables are looked for; None: nowhere.
        spelling: what the options are called that a refusal names.

    Raises:
        BadInput: all that is wrong with the words and the variables, one a line.
    """
    given = _variables(words, environment or {})
    faults = list(_variable_faults(given))
    whole = words if faults else _with_variables(words, given)
    faults += _faults(whole, given, spelling)
    if faults:
        raise BadInput("\n".join(faults))
    kind = Format(whole.format) if whole.format else None
    added = _parts(whole.ids, (*whole.files, *whole.urls), whole.segments, kind, whole.column)
    added += [Flag(name) for name in whole.flags]
    taken = _parts(whole.except_ids, whole.except_files, whole.except_segments, kind, whole.column)
    who: Who = Everyone() if whole.everyone else union_of(added)
    return Cohort(Difference(who, union_of(taken)) if taken else who)


def place_of(environment: Mapping[str, str]) -> Sequence[str]:
    """The object that the variables name, for whoever set them may have it read; none: they name none."""
    given = _variables(CohortWords(), environment)
    if not _truth(given) or list(_variable_faults(given)):
        return ()
    return _with_variables(CohortWords(), given).urls


def both_said(words: CohortWords, environment: Mapping[str, str]) -> str:
    """Which variables name users beside each other, in words; empty: no two do."""
    given = _variables(words, environment)
    of_file = "GOOGLE_CLOUD_STORAGE_PATH" if _truth(given) else "CSV_PATH"
    if "USER_IDS" not in given or of_file not in given:
        return ""
    return f"USER_IDS and {of_file} are both set: the users of both are meant"


def name_somebody(environment: Mapping[str, str]) -> bool:
    """Whether the variables say whose, be it nobody: one that is set to nothing is refused by `cohort_of`."""
    return _names_somebody(_variables(CohortWords(), environment))


def _variables(words: CohortWords, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are looked at, as no word takes their place."""
    given = {name: environment[name].strip() for name in VARIABLES if name in environment}
    if words.ids:
        given.pop("USER_IDS", None)
    if words.files or words.urls:
        given = {name: value for name, value in given.items() if name == "USER_IDS"}
    return given


def _names_somebody(given: Mapping[str, str]) -> bool:
    return "USER_IDS" in given or _name_a_file(given)


def _name_a_file(given: Mapping[str, str]) -> bool:
    """What stands in place of neither true nor false may have meant true."""
    return "CSV_PATH" in given or given.get("USE_BUCKET_CSV", "").lower() not in _NO


def _with_variables(words: CohortWords, given: Mapping[str, str]) -> CohortWords:
    ids = [given["USER_IDS"]] if "USER_IDS" in given else words.ids
    if _truth(given):
        bucket = given["GOOGLE_CLOUD_STORAGE_BUCKET"].removeprefix("gs://").rstrip("/")
        return replace(words, ids=ids, urls=[f"gs://{bucket}/{given['GOOGLE_CLOUD_STORAGE_PATH'].lstrip('/')}"])
    return replace(words, ids=ids, files=[given["CSV_PATH"]] if "CSV_PATH" in given else words.files)


def _parts(
    ids: Sequence[str], files: Sequence[str], segments: Sequence[str], kind: Format | None, column: str | None
) -> list[Who]:
    named = _split(ids)
    return [
        *([Ids(tuple(named))] if named else []),
        *(File(_placed(url), kind, column) for url in files),
        *(Segment(name) for name in segments),
    ]


def _placed(url: str) -> str:
    """A path in full: who goes on with the plan may stand in another directory."""
    return url if "://" in url else str(Path(url).absolute())


def _split(ids: Sequence[str]) -> list[str]:
    return [each for text in ids for each in (part.strip() for part in text.split(",")) if each]


def _faults(words: CohortWords, given: Mapping[str, str], spelling: Spelling) -> Iterator[str]:
    """`given`: the variables that say whose, too, or where that is."""
    yield from _whose_faults(words, spelling, said=_names_somebody(given))
    yield from _file_faults(words, said=_name_a_file(given))
    yield from _id_faults("--ids", words.ids)
    yield from _id_faults("--except-ids", words.except_ids)
    yield from _name_faults("CSV_PATH" if "CSV_PATH" in given else "--file", words.files, "the path of a file")
    yield from _name_faults("--except-file", words.except_files, "the path or URL of a file")
    yield from _name_faults("--segment", words.segments, "the name of a segment")
    yield from _name_faults(spelling.members, words.flags, "the name of a flag")
    yield from _name_faults("--except-segment", words.except_segments, "the name of a segment")
    for url in words.urls:
        if "://" not in url or not url.isprintable():
            option = "GOOGLE_CLOUD_STORAGE_PATH" if _truth(given) else "--from"
            yield f"{option}: {quoted(url)} is not a URL; write s3://bucket/key, or --file for a path of this machine"
    parts = [*words.files, *words.urls, *words.segments, *words.flags, *words.except_files, *words.except_segments]
    if len(parts) > MOST_PARTS - 2:
        yield f"more than {MOST_PARTS - 2} files, segments and flags; put several into one file"


def _whose_faults(words: CohortWords, spelling: Spelling, *, said: bool) -> Iterator[str]:
    named = bool(words.ids or words.files or words.urls or words.segments or words.flags)
    if not words.everyone and not named and not said:
        also = f"{spelling.also}, " if spelling.also else ""
        yield (
            "say whose: --ids a,b, --file people.csv, --from s3://bucket/key, --segment NAME,"
            f" {spelling.members} {spelling.flag}, {also}or --all"
        )
    if words.everyone and (named or said):
        variables = "; unset USER_IDS, CSV_PATH and USE_BUCKET_CSV" if said else ""
        options = f"--ids, --file, --from, --segment and {spelling.members}"
        yield f"--all is everybody already; leave it out, or leave out {options}{variables}"


def _file_faults(words: CohortWords, *, said: bool) -> Iterator[str]:
    if not (words.files or words.urls or words.except_files or said):
        for option in (name for name in ("column", "format") if getattr(words, name) is not None):
            yield f"--{option}: no file is read; name one with --file or --from, or leave --{option} out"
    if words.format is not None and words.format not in list(Format):
        yield f"--format: {quoted(words.format)}: {no_such('format', words.format, list(Format))}"
    if words.column is not None and not (words.column and words.column.isprintable()):
        yield f"--column: {quoted(words.column)} is not the name of a column"
    if words.column is not None and words.format == Format.LINES:
        yield "--column: lines have no columns; leave it out, or write --format csv"


def _id_faults(flag: str, ids: Sequence[str]) -> Iterator[str]:
    named = _split(ids)
    if ids and not named:
        yield f"{flag}: names nobody; write {flag} a,b"
    if len(named) > MOST_IDS:
        yield f"{flag}: names {len(named):,} users, at most {MOST_IDS:,}; write them into a file"
    for each in named:
        if why := id_fault(each):
            yield f"{flag}: {quoted(each)} {why}"


def _name_faults(flag: str, names: Sequence[str], what: str) -> Iterator[str]:
    for name in names:
        if not name or not name.isprintable():
            yield f"{flag}: {quoted(name)} is not {what}"


def _truth(given: Mapping[str, str]) -> bool:
    return given.get("USE_BUCKET_CSV", "").lower() in _YES


def _variable_faults(given: Mapping[str, str]) -> Iterator[str]:
    if given.get("USE_BUCKET_CSV", "").lower() not in (*_YES, *_NO):
        yield f"USE_BUCKET_CSV: {quoted(given['USE_BUCKET_CSV'])} is neither true nor false; write true or false"
    for name in ("USER_IDS", "CSV_PATH"):
        if name in given and not given[name]:
            yield f"{name} is set to nothing; name somebody, or unset it"
    yield from _id_faults("USER_IDS", [given["USER_IDS"]] if given.get("USER_IDS") else [])
    if _truth(given):
        for name in ("GOOGLE_CLOUD_STORAGE_BUCKET", "GOOGLE_CLOUD_STORAGE_PATH"):
            if not given.get(name):
                yield f"USE_BUCKET_CSV is true, but {name} is not set"
