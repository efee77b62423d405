"""Opens every Parquet file of a store with DuckDB and with pyarrow, and prints what each finds, as JSON.

usage: read.py STORE DOCUMENT APP

DOCUMENT is the page for users: its first block of SQL is run as it stands. Printed for each reader: files, rows in all files, distinct lines,
distinct lines by app, and the lines of APP as [nanoseconds, text], the oldest first.
"""

import glob
import json
import os
import re
import sys

import duckdb
import pyarrow.parquet as parquet


def statements(document, store):
    with open(document, encoding="utf-8") as file:
        block = re.search(r"```sql\n(.*?)```", file.read(), re.DOTALL).group(1)
    view, counts = [statement for statement in block.replace("STORE", store).split(";") if statement.strip()]
    return view, counts


def with_duckdb(store, document, app):
    connection = duckdb.connect()
    view, counts = statements(document, store)
    connection.execute(view)
    by_app = dict(connection.execute(counts).fetchall())
    # Each file by itself, too: a damaged one would be named.
    rows = sum(connection.execute("SELECT count(line) FROM read_parquet(?)", [path]).fetchone()[0] for path in files(store))
    lines = connection.execute("SELECT epoch_ns(ts), line FROM lines WHERE app = ? ORDER BY 1, 2", [app]).fetchall()
    return found(store, rows, by_app, lines)


def with_pyarrow(store, app):
    rows, seen = 0, {}
    for path in files(store):
        table = parquet.ParquetFile(path).read()
        rows += table.num_rows
        for row in zip(*(values(table, name) for name in ("stream_id", "ts", "line", "metadata", "namespace_uid", "app"))):
            seen[row[:5]] = row[5]
    by_app, lines = {}, []
    for (_, stamp, line, _, _), owner in seen.items():
        by_app[owner] = by_app.get(owner, 0) + 1
        if owner == app:
            lines.append((stamp, line))
    return found(store, rows, by_app, sorted(lines))


def values(table, name):
    column = table.column(name)
    if name == "ts":
        # As a number: Python's own datetime has no nanoseconds.
        return column.cast("int64").to_pylist()
    if name == "metadata":
        return [tuple(sorted(pairs)) for pairs in column.to_pylist()]
    return column.to_pylist()


def files(store):
    return sorted(glob.glob(os.path.join(store, "v1", "**", "*.parquet"), recursive=True))


def found(store, rows, by_app, lines):
    return {"files": len(files(store)), "rows": rows, "lines": sum(by_app.values()), "by_app": by_app, "of_app": [list(line) for line in lines]}


def main():
    store, document, app = sys.argv[1:]
    json.dump({"duckdb": with_duckdb(store, document, app), "pyarrow": with_pyarrow(store, app)}, sys.stdout)


main()
