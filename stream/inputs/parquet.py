"""The rows of Parquet files, each as a JSON object with the names of its columns. Needs pyarrow, an extra."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from stream.core.offline import UnreadableLine

_ROWS = 2_000  # at a time

_encode = msgspec.json.Encoder().encode


def rows_of(path: str, on_bytes_read: Callable[[int], None]) -> Iterator[bytes]:
    """The rows of a file. Times are ISO 8601 text, without an offset where the column has no zone.

    Raises OSError without pyarrow, and for a file that is broken, or no file but a pipe: its end has to be read first.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise OSError(
            f"{path} is a Parquet file, which needs pyarrow: pip install 'engagement-stream[parquet]'"
        ) from None
    if not Path(path).is_file():
        raise OSError(f"{path} is Parquet, whose end has to be read first: give the file, neither a pipe nor `-`")
    size = Path(path).stat().st_size
    try:
        with parquet.ParquetFile(path) as file:
            count, read = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in _rows_of(_in_microseconds(batch, pyarrow)):
                    yield row if isinstance(row, UnreadableLine) else _object(row)
                read += batch.num_rows
                on_bytes_read(size * read // max(count, 1))
    except pyarrow.ArrowException as error:
        raise OSError(f"{path} can't be read as Parquet: {' '.join(str(error).split())}") from None


def _in_microseconds(batch: Any, pyarrow: Any) -> Any:
    """The same rows without nanoseconds, which a time of Python does not have."""
    for place, field in enumerate(batch.schema):
        kind = _kind_in_microseconds(field.type, pyarrow)
        if kind != field.type:
            batch = batch.set_column(place, field.name, batch.column(place).cast(kind, safe=False))
    return batch


def _kind_in_microseconds(kind: Any, pyarrow: Any) -> Any:
    """The same type, and the same within objects and lists, with microseconds in the place of nanoseconds."""
    types = pyarrow.types
    if types.is_timestamp(kind):
        return pyarrow.timestamp("us", tz=kind.tz) if kind.unit == "ns" else kind
    if types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return pyarrow.struct([field.with_type(_kind_in_microseconds(field.type, pyarrow)) for field in fields])
    if types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(_kind_in_microseconds(kind.value_type, pyarrow)))
    return kind


def _rows_of(batch: Any) -> Iterator[dict[str, Any] | UnreadableLine]:
    """The rows of a batch. One that Python can't hold, such as a time of the year 10000, costs only itself."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):
        for place in range(batch.num_rows):
            try:
                [row] = batch.slice(place, 1).to_pylist()
                yield row
            except (ValueError, OverflowError) as error:  # noqa: PERF203  # one bad row costs only itself
                yield UnreadableLine.of(f"a row that can't be read: {error}")


def _object(row: dict[str, Any]) -> bytes:
    try:
        return _encode(row)
    except (TypeError, ValueError) as error:
        return UnreadableLine.of(f"a row that JSON can't hold: {error}")
