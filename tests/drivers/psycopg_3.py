"""psycopg 3: server-side prepared statements over libpq.

Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB; libpq takes the first four by itself.
"""

import os

import psycopg
from psycopg.errors import InsufficientPrivilege, QueryCanceled

SUB = os.environ["SUB"]
NAP = "DO $$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END $$"


def main():
    with psycopg.connect(password=os.environ["TOKEN"], autocommit=True) as connection:
        sees_only_its_own_rows(connection)
        runs_a_transaction(connection)
        is_refused_a_row_of_another(connection)
        cancels_a_query(connection)
        copies_out_and_in(connection)
        sees_only_its_own_rows(connection)
    print("ok psycopg3")


def sees_only_its_own_rows(connection):
    for _ in range(2):
        rows = connection.execute(
            "SELECT DISTINCT user_id FROM todos WHERE id > %s", [0], prepare=True
        ).fetchall()
        assert rows == [(SUB,)], rows


def runs_a_transaction(connection):
    before = count(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("INSERT INTO todos (task) VALUES (%s)", ["psycopg3"])
        assert count(connection) == before + 1
    assert count(connection) == before


def is_refused_a_row_of_another(connection):
    try:
        connection.execute("INSERT INTO todos (user_id, task) VALUES ('somebody else', 'psycopg3')")
    except InsufficientPrivilege as error:
        assert error.sqlstate == "42501", error.sqlstate
    else:
        raise AssertionError("a row of somebody else was inserted")


def cancels_a_query(connection):
    """The notice tells that the statement is running, so the cancel request cannot be early."""
    connection.add_notice_handler(lambda _notice: connection.cancel_safe())
    try:
        connection.execute(NAP)
    except QueryCanceled as error:
        assert error.sqlstate == "57014", error.sqlstate
    else:
        raise AssertionError("the nap was not cancelled")


def copies_out_and_in(connection):
    with connection.cursor() as cursor:
        with cursor.copy("COPY todos (user_id) TO STDOUT") as copy:
            owners = set(copy.rows())
        assert owners == {(SUB,)}, owners

        cursor.execute("CREATE TEMPORARY TABLE pocket (number int)")
        with cursor.copy("COPY pocket FROM STDIN") as copy:
            for number in range(10_000):
                copy.write_row([number])
        cursor.execute("SELECT count(DISTINCT number) FROM pocket")
        assert cursor.fetchone() == (10_000,)


def count(connection):
    return connection.execute("SELECT count(*) FROM todos").fetchone()[0]


main()
