"""The ids of a column of a Parquet file. A row's number stands for its line."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from hark.catalogue.wording import no_such, quoted
from hark.errors import BadInput, Fault, FileFaults, Unreachable
from hark.lists.naming import DEFAULT_COLUMN, File
from hark.lists.rows import Bad, Chunk, sorted_out

_ROWS = 20_000


def chunks(file: File, url: str, blocks: Iterator[bytes]) -> Iterator[Chunk]:
    """The ids of a file. Its end says where its columns are, so it is first brought to disk whole.

    Raises:
        BadInput: pyarrow is not installed.
        FileFaults: it is no Parquet, has no such column, or one that can hold no ids.
        Unreachable: the disk has no room for it.
    """
    arrow, parquet = _library(url, "pyarrow"), _library(url, "pyarrow.parquet")
    with tempfile.TemporaryFile() as whole:
        _bring(url, blocks, whole)
        try:
            yield from _read(file, url, parquet.ParquetFile(whole), arrow)
        except (arrow.ArrowException, OSError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise _fault(url, f"is no Parquet file that can be read: {said}") from None


def _library(url: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BadInput(f'{url}: reading Parquet needs an extra; run pip install "hark[files]"') from None


def _bring(url: str, blocks: Iterator[bytes], whole: IO[bytes]) -> None:
    for block in blocks:
        try:
            whole.write(block)
        except OSError as error:
            raise Unreachable(f"{url} cannot be brought to {tempfile.gettempdir()}: {error.strerror}") from None
    whole.seek(0)


def _read(file: File, url: str, source: Any, arrow: Any) -> Iterator[Chunk]:
    wanted = file.column or DEFAULT_COLUMN
    schema = source.schema_arrow
    if schema.names.count(wanted) != 1:
        raise _fault(url, f"{quoted(wanted)}: {no_such('column', wanted, schema.names)}")
    kind = schema.field(wanted).type
    inner = kind.value_type if arrow.types.is_dictionary(kind) else kind
    if not (arrow.types.is_string(inner) or arrow.types.is_large_string(inner) or arrow.types.is_integer(inner)):
        raise _fault(url, f"column {wanted} holds {kind}, expected texts or whole numbers")
    begun = 1
    for batch in source.iter_batches(batch_size=_ROWS, columns=[wanted], use_threads=False):
        values = batch.column(0).to_pylist()
        yield _chunk(begun, values)
        begun += len(values)


def _chunk(begun: int, values: list[Any]) -> Chunk:
    nobody = [Bad(n, "has no id", "") for n, value in enumerate(values, begun) if value is None or value == ""]
    named = ((n, str(value)) for n, value in enumerate(values, begun) if value is not None and value != "")
    found = sorted_out(named)
    return Chunk(found.lines, found.ids, [*nobody, *found.bad])


def _fault(url: str, what: str) -> FileFaults:
    return FileFaults(url, [Fault(0, "file", what)])
