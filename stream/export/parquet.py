"""Apache Parquet (`.parquet`): the columns of the CSV file with their types; the record's header goes with them."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stream.export.table import COLUMNS, rows
from stream.tracklines import encode as line
from stream.tracks import Tracks, line_bytes

HEADER_KEY = b"iznet.header"
"""Of the file's metadata: the header line, as JSON."""
_TYPES = {
    "frame": pa.int32(),
    "pts": pa.int64(),
    "time": pa.float64(),
    "shot": pa.int32(),
    "track": pa.int32(),
    "name": pa.dictionary(pa.int32(), pa.string()),
    "verdict": pa.dictionary(pa.int32(), pa.string()),
}


def encode(record: Tracks, video: Path) -> bytes:
    """A table with a row a face."""
    fields = [pa.field(name, _TYPES.get(name, pa.float32())) for name in COLUMNS]
    header = line_bytes(line(record.header))
    schema = pa.schema(fields, metadata={HEADER_KEY: header})
    columns = list(zip(*rows(record), strict=True)) or [()] * len(COLUMNS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), out, compression="zstd")
    return out.getvalue()
