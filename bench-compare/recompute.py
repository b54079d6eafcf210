"""The orders workload's views computed anew, by DuckDB and by DataFusion (their Python packages).

    python recompute.py <engine> <directory> <threads>

The directory holds the tables as columns of little-endian 64-bit integers, one file each, as
`bench-compare` writes them. Prints one line of JSON: seconds of each full computation, memory, and
the answers. Loading the tables is not measured.
"""

import json
import pathlib
import resource
import sys
import time

import numpy
import pyarrow

RUNS = 5
QUERIES = {
    "totals": "SELECT region, COUNT(*), SUM(amount) FROM orders"
    " JOIN customers ON orders.customer = customers.id GROUP BY region",
    "buyers": "SELECT region, COUNT(DISTINCT customer) FROM orders"
    " JOIN customers ON orders.customer = customers.id GROUP BY region",
}
COLUMNS = {"orders": ["id", "customer", "amount"], "customers": ["id", "region"]}


def read_tables(directory):
    tables = {}
    for table, columns in COLUMNS.items():
        arrays = [
            numpy.fromfile(directory / f"{table}.{column}", dtype="<i8")
            for column in columns
        ]
        tables[table] = pyarrow.table(arrays, names=columns)
    return tables


def duckdb_engine(tables, threads):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    for name, table in tables.items():
        connection.register("source", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM source")
        connection.unregister("source")
    return f"duckdb {duckdb.__version__}", lambda sql: connection.execute(sql).fetchall()


def datafusion_engine(tables, threads):
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(threads)
    context = datafusion.SessionContext(config)
    for name, table in tables.items():
        context.register_record_batches(name, [table.to_batches(max_chunksize=8192)])

    def query(sql):
        rows = pyarrow.Table.from_batches(context.sql(sql).collect())
        return list(zip(*(column.to_pylist() for column in rows.columns)))

    return f"datafusion {datafusion.__version__}", query


def main():
    engine, directory, threads = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    tables = read_tables(directory)
    start = {"duckdb": duckdb_engine, "datafusion": datafusion_engine}[engine]
    name, query = start(tables, threads)
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        answers = {view: query(sql) for view, sql in QUERIES.items()}
        seconds.append(time.perf_counter() - begin)
    totals = {int(region): [int(count), int(total)] for region, count, total in answers["totals"]}
    buyers = {int(region): int(count) for region, count in answers["buyers"]}
    report = {
        "engine": name,
        "workers": threads,
        "seconds": sorted(seconds),
        "memory_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "answers": {"totals": totals, "buyers": buyers},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
