"""Fills templates that operators wrote with payloads that nobody checked."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from jinja2 import (
    ChainableUndefined,
    DictLoader,
    Template,
    TemplateSyntaxError,
    Undefined,
    UndefinedError,
    meta,
    nodes,
    pass_context,
    select_autoescape,
)
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from hark.errors import RenderingFailed

VALUE_LENGTH = 2_000
"""Characters that one printed value may have; what is longer is cut and ends in an ellipsis."""
LIST_LENGTH = 100
"""How many values of a printed list are shown."""

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"[^>]*>(.*?)</a>', re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<(?:br|/p|/div|/li|/h[1-6]|/tr)\b", re.IGNORECASE)
_WEB = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)


class Sandbox(ImmutableSandboxedEnvironment):
    """Where templates run: `NAME.html` is autoescaped, any other name is plain text.

    What a payload lacks prints as nothing and is counted in `blanks`, by template: a mail with a gap is of more use
    than no mail, and the count shows the gap. Computing with it (`payload.price * 2`) fails.

    Args:
        sources: the templates by name, `REASON.KIND`.
        blanks: where values that were not there are counted.
    """

    def __init__(self, sources: Mapping[str, str], blanks: Counter[str]) -> None:
        super().__init__(
            loader=DictLoader(sources),
            autoescape=select_autoescape(("html",)),
            undefined=ChainableUndefined,
            finalize=_printed,
            auto_reload=False,
            cache_size=-1,
        )
        self.blanks = blanks
        self.filters["link"] = link

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A payload's own keys come before the methods of a dict, so that `payload.items` is what was published."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


def fill(template: Template, variables: dict[str, Any]) -> str:
    """Fill a template.

    `variables` holds the environment's globals too, and the context is made by hand: `Template.render` merges the
    globals anew each time, which costs more than most templates do.

    Raises:
        RenderingFailed: it broke; names reason, template, line and the kind of error, never the data.
    """
    try:
        context = Context(template.environment, variables, template.name, template.blocks)
        return "".join(template.root_render_func(context))
    except Exception as error:
        failure = _failure(template, error)
    # Outside the except block: the first error may quote the payload, and logs print what hangs on an exception.
    raise failure


def source_faults(sandbox: Sandbox, source: str, known: frozenset[str]) -> list[str]:
    """What is wrong with the source of one template, each with its line; `known` is what it may name."""
    try:
        tree = sandbox.parse(source)
        unknown = meta.find_undeclared_variables(tree) - known - sandbox.globals.keys()
    except TemplateSyntaxError as error:
        return [f"line {error.lineno} of the template: {error.message}"]
    return [_unknown_variable(name, tree, known) for name in sorted(unknown)]


def link(value: object) -> str:
    """The filter for an `href`: a web or mail address as it is, anything else (`javascript:`…) as nothing."""
    address = clean(str(value)).strip()
    return address if _WEB.match(address) else ""


def one_line(text: str, length: int) -> str:
    """A text as one line without control characters, `length` characters at most, an ellipsis where it was cut."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = " ".join(clean(line).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def clean(text: str) -> str:
    """A text without what no mail should hold: control characters (but newline and tab), overrides of the writing
    direction, lone surrogates. Every kind of line end becomes a newline."""
    return _UNWANTED.sub("", _LINE_ENDS.sub("\n", text))


def html_of(text: str) -> Markup:
    """Plain text as HTML: escaped, its lines kept."""
    return escape(text).replace("\n", Markup("<br>\n"))


def text_of(html: str) -> str:
    """HTML as plain text: a link keeps its address, block ends become line ends, other tags go."""
    linked = _LINK.sub(r"\2 (\1)", html)
    lines = (Markup(line).striptags() for line in _BREAK.sub("\n\\g<0>", linked).split("\n"))  # noqa: S704  (unescapes)
    return "\n".join(line for line in lines if line)


@pass_context
def _printed(context: Context, value: object) -> object:
    """What `{{ value }}` prints. Markup is left whole: cut in the middle, a tag would swallow what follows."""
    if type(value) is str:
        return value if len(value) <= VALUE_LENGTH and value.isprintable() else _cut(clean(value))
    if isinstance(value, Markup):
        return value if value.isprintable() else Markup(clean(value))  # noqa: S704  (it was Markup before)
    return _blank(context) if isinstance(value, Undefined) else _cut(_words(context, value))


def _words(context: Context, value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return clean(value)
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal() | UUID():
            return _number(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case list() | tuple():
            return ", ".join(_listed(context, value))
    return _blank(context)


def _number(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to write out integers of more than 4,300 digits
        return "…"


def _listed(context: Context, values: list[Any] | tuple[Any, ...]) -> Iterator[str]:
    """The first values of a list; what is nested deeper has no words of its own."""
    for value in islice(values, LIST_LENGTH):
        yield _blank(context) if isinstance(value, list | tuple) else _words(context, value)
    if len(values) > LIST_LENGTH:
        yield "…"


def _blank(context: Context) -> str:
    environment = context.environment
    if isinstance(environment, Sandbox):
        environment.blanks[context.name or ""] += 1
    return ""


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _failure(template: Template, error: Exception) -> RenderingFailed:
    reason, _, kind = (template.name or "").rpartition(".")
    missing = isinstance(error, UndefinedError)
    what = "it computes with a value that is not there; give it a default" if missing else type(error).__name__
    return RenderingFailed(f"reason {reason}, template {kind}, line {_line(template, error)}: {what}")


def _line(template: Template, error: Exception) -> int:
    """The template's line that was being filled when the error was raised; 0 when it had not begun."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _unknown_variable(name: str, tree: nodes.Template, known: frozenset[str]) -> str:
    line = min(node.lineno for node in tree.find_all(nodes.Name) if node.name == name)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"a template knows {', '.join(sorted(known))}"
    return f"line {line} of the template: no variable is called {name}; {hint}"
