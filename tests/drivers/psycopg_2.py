"""psycopg2: simple protocol only, so its prepared statements are SQL ones.

Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB; libpq takes the first four by itself.
"""

import io
import os
import select

import psycopg2
from psycopg2 import extensions
from psycopg2.errors import InsufficientPrivilege, QueryCanceled

SUB = os.environ["SUB"]
NAP = "DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$"


def main():
    connection = psycopg2.connect("", password=os.environ["TOKEN"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("PREPARE owners(bigint) AS SELECT DISTINCT user_id FROM todos WHERE id > $1")
        sees_only_its_own_rows(cursor)
        runs_a_transaction(connection, cursor)
        is_refused_a_row_of_another(cursor)
        cancels_a_query(cursor)
        copies_out_and_in(cursor)
        sees_only_its_own_rows(cursor)
    connection.close()
    print("ok psycopg2")


def sees_only_its_own_rows(cursor):
    cursor.execute("EXECUTE owners(%s)", [0])
    rows = cursor.fetchall()
    assert rows == [(SUB,)], rows


def runs_a_transaction(connection, cursor):
    before = count(cursor)
    connection.autocommit = False
    cursor.execute("INSERT INTO todos (task) VALUES (%s)", ["psycopg2"])
    assert count(cursor) == before + 1
    connection.rollback()
    connection.autocommit = True
    assert count(cursor) == before


def is_refused_a_row_of_another(cursor):
    try:
        cursor.execute("INSERT INTO todos (user_id, task) VALUES ('somebody else', 'psycopg2')")
    except InsufficientPrivilege as error:
        assert error.pgcode == "42501", error.pgcode
    else:
        raise AssertionError("a row of somebody else was inserted")


def cancels_a_query(cursor):
    extensions.set_wait_callback(cancel_once_it_runs)
    try:
        cursor.execute(NAP)
    except QueryCanceled as error:
        assert error.pgcode == "57014", error.pgcode
    else:
        raise AssertionError("the nap was not cancelled")
    finally:
        extensions.set_wait_callback(None)


def cancel_once_it_runs(connection):
    """Waits as a green thread would; the notice tells that the statement is running."""
    cancelled = False
    while (state := connection.poll()) != extensions.POLL_OK:
        if connection.notices and not cancelled:
            connection.cancel()
            cancelled = True
        if state == extensions.POLL_READ:
            select.select([connection], [], [])
        else:
            select.select([], [connection], [])


def copies_out_and_in(cursor):
    out = io.StringIO()
    cursor.copy_expert("COPY todos (user_id) TO STDOUT", out)
    owners = set(out.getvalue().splitlines())
    assert owners == {SUB}, owners

    cursor.execute("CREATE TEMPORARY TABLE pocket (number int)")
    numbers = io.StringIO("".join(f"{number}\n" for number in range(10_000)))
    cursor.copy_expert("COPY pocket FROM STDIN", numbers)
    cursor.execute("SELECT count(DISTINCT number) FROM pocket")
    assert cursor.fetchone() == (10_000,)


def count(cursor):
    cursor.execute("SELECT count(*) FROM todos")
    return cursor.fetchone()[0]


main()
