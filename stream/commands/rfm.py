"""`engagement rfm`: write frequency, recency, T and monetary value of each customer, for models of buyers."""

import asyncio
import csv
import io
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream.commands.formats import chosen_input, format_options, literal_columns
from stream.core.customers import ROWS_PREFIX, by_currency, customers_of_parts, customers_of_rows, in_order
from stream.core.families.orders.purchases import Customer
from stream.core.money import DECIMALS
from stream.core.offline import Offline
from stream.core.rejections import Reason
from stream.inputs.files import files_of, messages_of
from stream.settings import Settings, reader_of_input
from stream.terminal import (
    Failure,
    OperatorMistake,
    UnusableLines,
    failures_in_one_line,
    load_settings,
    reading_progress,
    settings_options,
    strict_option,
    time_option,
)

if TYPE_CHECKING:
    from stream.maintenance.partition_state import StateMaintenance

_CSV, _PARQUET = "csv", "parquet"
_Row = dict[str, Any]


@click.command()
@settings_options
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The file to write. [default: standard output]")
@click.option(
    "--as",
    "as_format",
    type=click.Choice([_CSV, _PARQUET]),
    help="How to write. [default: by the name of the file, csv]",
)
@click.option("--at", metavar="TIME", help="Of files: the end of what is observed. [default: the newest event]")
@click.option("--currency", metavar="CODE", help="Only customers who paid in this currency, such as EUR.")
@click.option("--fit", is_flag=True, help="Add expected purchases and customer lifetime value, with 95 % intervals.")
@click.option(
    "--horizon", type=click.IntRange(1), default=365, show_default=True, help="With --fit: for how many days ahead."
)
@strict_option
@format_options
def rfm(
    file: Path | None,
    kafka: str | None,
    files: tuple[str, ...],
    output: Path | None,
    as_format: str | None,
    at: str | None,
    currency: str | None,
    fit: bool,
    horizon: int,
    strict: bool,
    format_: str | None,
    mapping: Path | None,
) -> None:
    """Write frequency, recency, T and monetary value of each customer, for models such as BG/NBD and Gamma-Gamma.

    FILE holds events, as for `engagement compute`. Without FILE the customers are read from the state of the deployment
    with these settings, whose workers may run meanwhile; the last second or so is missing.

    The definitions are those of the libraries lifetimes and PyMC-Marketing, by local day: frequency is the number of
    purchase days after the first one, recency and T are days since the first purchase, monetary value is the mean of
    what the purchase days after the first one cost, before refunds. A customer has a row for each currency. Ids of
    devices begin with `anonymous:`. Of files all purchases count. The state has those between which no more days lie
    than the setting `memory` says, and no customer who has not been seen for longer.

    With --fit the models BG/NBD and Gamma-Gamma are fitted for each currency, to 5,000 customers at most, and a row
    gets expected_purchases and expected_clv (without a discount) over the horizon. Each has the ends of its interval
    beside it, as _lower and _upper: between them lies what is expected, not what a single customer will do.

    \b
    Example: engagement rfm --kafka localhost:9092 -o customers.parquet
             engagement rfm orders.jsonl.gz --at 1997-09-30T23:59:59Z --currency USD
             engagement rfm orders.jsonl --fit --horizon 90
    """
    settings = load_settings(file, kafka)
    kind = as_format or (_PARQUET if output is not None and output.suffix == f".{_PARQUET}" else _CSV)
    if currency is not None and currency not in DECIMALS:
        raise OperatorMistake(f"--currency: {currency!r} is no ISO 4217 currency with a minor unit")
    if not files and (at is not None or format_ is not None or mapping is not None):
        raise OperatorMistake("--at, --format and --mapping are for files: none is named")
    if fit:
        from stream.lifetime_value import require_library

        require_library()
    unusable = UnusableLines(strict=strict)
    found: Iterable[Customer]
    if files:
        found = _of_files(settings, files, unusable, at_ms=time_option(at, "--at"), chosen=(format_, mapping))
    else:
        found = _of_state(settings)
    customers = in_order(one for one in found if currency in (None, one.currency))
    if not customers:
        raise Failure("nobody has paid anything" + ("" if currency is None else f" in {currency}"))
    rows: list[_Row] = [one._asdict() for one in customers]
    if fit:
        estimates = _estimates(customers, horizon_days=horizon)
        rows = [row | estimates[row["customer_id"], row["currency"]] for row in rows]
    with failures_in_one_line():
        _write(rows, kind, output)
    unusable.exit()


def _estimates(customers: list[Customer], *, horizon_days: int) -> dict[tuple[str, str], _Row]:
    """What is expected of each customer in each currency; empty where nobody has bought again. Raises Failure."""
    from stream.lifetime_value import NO_ESTIMATE, can_be_fitted, fitted

    def tell(text: str) -> None:
        click.echo(f"engagement: {text}", err=True)

    currencies = by_currency(customers)
    unknown = [currency for currency, some in currencies.items() if not can_be_fitted(some)]
    if len(unknown) == len(currencies):
        raise Failure(f"--fit: nobody has bought on two days in {', '.join(unknown)}")
    if unknown:
        tell(f"--fit: nobody has bought on two days in {', '.join(unknown)}: nothing is expected there")
    return {
        (one.customer_id, one.currency): estimate
        for currency, some in currencies.items()
        for one, estimate in zip(
            some,
            (NO_ESTIMATE for _ in some) if currency in unknown else fitted(some, horizon_days=horizon_days, tell=tell),
            strict=True,
        )
    }


def _of_files(
    settings: Settings,
    files: tuple[str, ...],
    unusable: UnusableLines,
    *,
    at_ms: int | None,
    chosen: tuple[str | None, Path | None],
) -> Iterator[Customer]:
    settings = settings.of_files
    only = chosen_input(settings, *chosen)
    readers = settings.readers if only is None else {only.name: reader_of_input(only, lambda name: None)}
    offline = Offline(
        settings.rules,
        readers,
        at_ms=at_ms,
        clock_ms=time.time_ns() // 1_000_000,
        max_message_bytes=settings.max_message_bytes,
        only=None if only is None else only.name,
    )
    with failures_in_one_line():
        paths = files_of(files)
    with failures_in_one_line(), reading_progress(paths) as progress_of:
        literals = literal_columns(only)
        for path in paths:
            with messages_of(
                path, max_line_bytes=settings.max_message_bytes, literals=literals, on_bytes_read=progress_of(path)
            ) as lines:
                first = offline.lines
                for line in offline.apply(lines):
                    if line.reason is not Reason.FUTURE or at_ms is None:
                        unusable.add(path, line.number - first, f"{line.reason.value}: {line.detail}")
    unusable.raise_if_strict()
    unusable.raise_if_none_used(0 if offline.newest_ms < 0 else 1)
    observed_ms = offline.newest_ms if at_ms is None else at_ms
    return customers_of_parts(settings.rules, offline.parts("orders"), at_ms=observed_ms)


def _of_state(settings: Settings) -> list[Customer]:
    from stream.kafka.access import required_rights
    from stream.telemetry import configure_logging
    from stream.wiring import open_maintenance

    configure_logging(settings.log, secrets=settings.secrets())

    async def read(maintenance: "StateMaintenance") -> list[Customer]:
        partitions = [await maintenance.rows(partition, ROWS_PREFIX) for partition in range(settings.topics.partitions)]
        # All customers are observed for as long, whatever a partition has read last.
        at_ms = max((progress.now_ms for progress, _ in partitions), default=-1)
        return [one for _, rows in partitions for one in customers_of_rows(settings.rules, rows, at_ms=max(0, at_ms))]

    async def run() -> list[Customer]:
        with open_maintenance(settings) as opened:
            async with opened:
                return await read(opened)

    with failures_in_one_line(), required_rights(settings, "rfm"):
        return asyncio.run(run())


def _write(rows: list[_Row], kind: str, output: Path | None) -> None:
    content = _as_parquet(rows) if kind == _PARQUET else _as_csv(rows)
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        output.write_bytes(content)


def _as_csv(rows: list[_Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _as_parquet(rows: list[_Row]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise OperatorMistake("--as parquet needs pyarrow: pip install 'engagement-stream[parquet]'") from None
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    return content.getvalue()
