"""Columns of a Parquet file, refused where the file contradicts itself.

Checksums, where a file has them, cover the values of a page but neither its header nor the footer: one flipped bit
there can shift all values of a page or leave rows out. What the footer says of each row group is compared with what was
read: rows, nulls, the least and the greatest value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_PLAIN = ((pa.date32(), "INT32"), (pa.float32(), "FLOAT"), (pa.float64(), "DOUBLE"))


def read_columns(file: Path, columns: list[str]) -> pa.Table:
    """The columns as a table. Raises `pa.ArrowInvalid` where pages and footer disagree, or what else Arrow raises."""
    parquet = pq.ParquetFile(file, page_checksum_verification=True)
    groups = [parquet.read_row_group(k, columns=columns) for k in range(parquet.num_row_groups)]
    for k, group in enumerate(groups):
        for name, wrong in _contradictions(parquet, k, group):
            raise pa.ArrowInvalid(f"row group {k}: {wrong} of {name} in the pages and in the footer are not the same")
    return pa.concat_tables(groups) if groups else parquet.read(columns=columns)


def _contradictions(parquet: pq.ParquetFile, k: int, group: pa.Table) -> Iterator[tuple[str, str]]:
    """(column, what differs) between the footer and the values of row group k; nested columns are not compared.

    Arrow ends the process over some damage in what a footer says of a column. Of a column that was read it has already
    read that, and would have raised an error; the others are not asked for.
    """
    said = parquet.metadata.row_group(k)
    for at in range(min(said.num_columns, len(parquet.schema))):
        name = parquet.schema.column(at).path
        if name in group.column_names:
            column, values = said.column(at), group[name]
            if not len(values) == said.num_rows == column.num_values:
                yield name, "the numbers of rows"
            elif column.statistics is not None:
                yield from ((name, wrong) for wrong in _wrong_statistics(column.statistics, values))


def _wrong_statistics(said: Any, values: pa.ChunkedArray) -> Iterator[str]:
    if said.has_null_count and said.null_count != values.null_count:
        yield "the numbers of nulls"
    if said.has_min_max and (numbers := _plain_numbers(values, said.physical_type)) is not None:
        limits = np.array([said.min_raw, said.max_raw], np.float64)
        found = np.array([numbers.min(), numbers.max()]) if len(numbers) else limits
        if not np.isnan(limits).any() and not np.array_equal(found, limits):
            yield "the least or greatest values"


def _plain_numbers(values: pa.ChunkedArray, physical: str) -> np.ndarray | None:
    """What is neither null nor NaN as float64, if Parquet holds it as the same numbers: floats and dates."""
    if (values.type, physical) not in _PLAIN:
        return None
    values = values.drop_null()
    numbers = (values.cast(pa.int32()) if pa.types.is_date32(values.type) else values).to_numpy().astype(np.float64)
    return numbers[~np.isnan(numbers)]
