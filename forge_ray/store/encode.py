"""Parts: Arrow tables as files that are written once and never trusted unread.

A file carries page checksums, and its receipt a SHA-256 of all its bytes. Both are needed: page checksums do not cover
the footer, where one flipped bit renames a column. The content hash is over values instead of bytes, so that two
computations of a block can be compared whatever wrote them.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forge_ray.errors import CorruptPartError, StoreError, shown
from forge_ray.store.disk import lost, read_file, write_new
from forge_ray.store.receipts import Part

_PART_PATH = re.compile(r"[a-z][a-z0-9_]*/([0-9]+)-([0-9]+)-[A-Za-z0-9._-]+\.parquet")


def encode(table: pa.Table) -> bytes:
    """Parquet: zstd, byte-stream split and no dictionary for floats, a checksum on every page."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    layout: dict[str, Any] = {
        "use_byte_stream_split": floats,
        "use_dictionary": [name for name in table.column_names if name not in floats],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", write_page_checksum=True, **layout)
    return sink.getvalue().to_pybytes()


def content_hash(table: pa.Table) -> str:
    """BLAKE2b-128 over names, types and values of the columns, as 32 hex digits.

    Floats count by their bits: NaN equals itself, 0.0 is not -0.0. Null is a value of its own, whatever lies beneath.
    Chunks, slices and schema metadata do not count. Raises `StoreError` for nested and dictionary columns.
    """
    digest = hashlib.blake2b(digest_size=16)
    for field, column in zip(table.schema, table.columns, strict=True):
        valid = column.is_valid().cast(pa.uint8()).combine_chunks()
        values = column.drop_null().combine_chunks()
        for piece in (field.name.encode(), str(field.type).encode(), fixed_bytes(valid), *_pieces(field, values)):
            digest.update(len(piece).to_bytes(8, "little"))
            digest.update(piece)
    return digest.hexdigest()


def encode_part(table_name: str, lo: int, hi: int, attempt: str, table: pa.Table) -> tuple[Part, bytes]:
    """The part of block [lo, hi) and the bytes of its file, not yet written. `attempt` makes the name unique."""
    data = encode(table)
    path = f"{table_name}/{lo}-{hi}-{attempt}.parquet"
    part = Part(table_name, path, table.num_rows, len(data), hashlib.sha256(data).hexdigest(), content_hash(table))
    locate(Path(), part.path)
    return part, data


def write_part(run_dir: Path, table_name: str, lo: int, hi: int, attempt: str, table: pa.Table) -> Part:
    """Write the rows of block [lo, hi) durably under their final name.

    Raises `DiskError` if the name is taken or the disk refuses; nothing half-done is left behind.
    """
    part, data = encode_part(table_name, lo, hi, attempt, table)
    write_new(locate(run_dir, part.path), data)
    return part


def write_payload(run_dir: Path, part: Part, payload: bytes) -> None:
    """Write what a worker encoded with `encode_part` because it could not reach the folder. Errors as `write_part`."""
    path = locate(run_dir, part.path)
    if wrong := _wrong_bytes(part, payload):
        raise CorruptPartError(str(path), f"what the worker sent has {wrong}", "run the same command again")
    write_new(path, payload)


def read_part(run_dir: Path, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part, or some of their columns. Raises `CorruptPartError` unless every byte is as committed."""
    path = locate(run_dir, part.path)
    try:
        data = read_file(path)
        wrong = _wrong_bytes(part, data)
        if not wrong:
            table = pq.ParquetFile(_native(data), page_checksum_verification=True).read(columns)
            if table.num_rows == part.rows:
                return table
            wrong = f"{table.num_rows:,} rows; the catalogue says {part.rows:,}"
    except OSError as error:
        wrong = lost(path, error)
    except pa.ArrowMemoryError:  # says nothing about the file
        raise
    except pa.ArrowException as error:
        wrong = str(error)
    raise damaged_part(run_dir, part, wrong)


def _native(data: bytes) -> pa.BufferReader:
    """A copy in memory of Arrow's own. One of its threads may let go of what it read when Python already ends, and of
    Python's memory it then cannot: that aborts the process."""
    sink = pa.BufferOutputStream()
    sink.write(data)
    return pa.BufferReader(sink.getvalue())


def damaged_part(run_dir: Path, part: Part, wrong: str) -> CorruptPartError:
    """The error of a part that is not as committed: its block, and what computes that again."""
    lo, hi = block_of(part.path)
    remedy = f"`forge-ray verify {run_dir}` lists what is damaged, `forge-ray repair {run_dir}` computes it again"
    return CorruptPartError(str(run_dir / part.path), f"block [{lo}, {hi}): {wrong}", remedy)


def locate(run_dir: Path, part_path: str) -> Path:
    """Where a part lies. Receipts and catalogues come from outside, so a path that leaves the folder is refused."""
    if not _PART_PATH.fullmatch(part_path):
        raise StoreError(f"{run_dir}: {shown(part_path)} is no part; expected TABLE/LO-HI-ATTEMPT.parquet")
    return run_dir / part_path


def is_part(part_path: str) -> bool:
    """Whether a path, relative to the run's folder, is named like a part."""
    return _PART_PATH.fullmatch(part_path) is not None


def block_of(part_path: str) -> tuple[int, int]:
    """The block that a part's name tells."""
    found = _PART_PATH.fullmatch(part_path)
    if found is None:
        raise StoreError(f"{shown(part_path)} is no part; expected TABLE/LO-HI-ATTEMPT.parquet")
    return int(found[1]), int(found[2])


def _wrong_bytes(part: Part, data: bytes) -> str:
    """What a file has that its record does not; empty if all is well."""
    if len(data) != part.bytes:
        return f"{len(data):,} bytes; the catalogue says {part.bytes:,}"
    found = hashlib.sha256(data).hexdigest()
    return "" if found == part.sha256 else f"SHA-256 {found}; the catalogue says {part.sha256}"


def _pieces(field: pa.Field, values: pa.Array) -> list[bytes | memoryview]:
    """The bytes of a column without nulls: its values, or lengths and joined bytes for text."""
    kind = field.type
    if pa.types.is_boolean(kind):
        return [fixed_bytes(values.cast(pa.uint8()))]
    if pa.types.is_primitive(kind) or pa.types.is_fixed_size_binary(kind):
        return [fixed_bytes(values)]
    if kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
        return _text(values.cast(pa.large_binary()))
    raise StoreError(f"column {field.name!r}: cannot store {kind}; allowed: numbers, times, booleans, text and binary")


def fixed_bytes(values: pa.Array) -> memoryview:
    """The bytes of a column of a fixed width without nulls."""
    buffer, width = values.buffers()[1], values.type.bit_width // 8
    return memoryview(buffer or b"")[values.offset * width : (values.offset + len(values)) * width]


def _text(values: pa.LargeBinaryArray) -> list[bytes | memoryview]:
    if not len(values):
        return []
    _, offsets, joined = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return [np.diff(ends).tobytes(), memoryview(joined or b"")[ends[0] : ends[-1]]]
