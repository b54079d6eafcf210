"""Reads every batch file of a storage root with nothing but pyarrow; prints a JSON line per batch."""

import json
import pathlib
import sys

import pyarrow as pa
from pyarrow import ipc


def batches(data):
    """The Arrow files in a file: itself, or those that a pack lists."""
    reader = ipc.open_file(pa.py_buffer(data))
    pack = (reader.metadata or {}).get(b"highwater.pack")
    if pack is None:
        yield reader
        return
    for place in json.loads(pack):
        start = place.get("offset", 0)
        yield ipc.open_file(pa.py_buffer(data[start : start + place["length"]]))


for path in sorted(pathlib.Path(sys.argv[1]).glob("w*-*.feldera")):
    for reader in batches(path.read_bytes()):
        table = reader.read_all()
        weights = table.column("__weight").to_pylist()
        print(json.dumps({"columns": table.schema.names, "rows": table.num_rows, "weight": sum(weights),
                          "version": (reader.metadata or {})[b"highwater.version"].decode(),
                          "first": {name: str(values[0]) for name, values in table.slice(0, 1).to_pydict().items()}}))
