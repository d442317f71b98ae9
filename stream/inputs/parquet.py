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
                for row in _in_microseconds(batch, pyarrow).to_pylist():
                    yield _object(row)
                read += batch.num_rows
                on_bytes_read(size * read // max(count, 1))
    except pyarrow.ArrowException as error:
        raise OSError(f"{path} can't be read as Parquet: {' '.join(str(error).split())}") from None


def _in_microseconds(batch: Any, pyarrow: Any) -> Any:
    """The same rows without nanoseconds, which a time of Python does not have."""
    for place, field in enumerate(batch.schema):
        if pyarrow.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pyarrow.timestamp("us", tz=field.type.tz)
            batch = batch.set_column(place, field.name, batch.column(place).cast(kind, safe=False))
    return batch


def _object(row: dict[str, Any]) -> bytes:
    try:
        return _encode(row)
    except (TypeError, ValueError) as error:
        return UnreadableLine.of(f"a row that JSON can't hold: {error}")
