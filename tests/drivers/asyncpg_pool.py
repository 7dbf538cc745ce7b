"""asyncpg with its pool, which sends RESET ALL whenever a connection is released.

Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB; asyncpg takes the first four by itself.
"""

import asyncio
import io
import os

import asyncpg

SUB = os.environ["SUB"]

# asyncpg answers a cancelled task itself and drops the server's error, so the server
# tells by a second notice what ended the nap.
NAP = """
DO $$
BEGIN
    RAISE NOTICE 'asleep';
    PERFORM pg_sleep(60);
EXCEPTION WHEN query_canceled THEN
    RAISE NOTICE 'cancelled' USING ERRCODE = SQLSTATE;
END $$
"""


async def main():
    async with asyncpg.create_pool(password=os.environ["TOKEN"], min_size=1, max_size=1) as pool:
        for check in (
            sees_only_its_own_rows,
            runs_a_transaction,
            is_refused_a_row_of_another,
            cancels_a_query,
            copies_out_and_in,
            sees_only_its_own_rows,
        ):
            async with pool.acquire() as connection:
                await check(connection)
        await keeps_its_claims_through_resets(pool)
    print("ok asyncpg")


async def keeps_its_claims_through_resets(pool):
    """Each lease is the same backend; a setting of the lease before proves that it was reset."""
    backends = set()
    for _ in range(3):
        async with pool.acquire() as connection:
            backends.add(connection.get_server_pid())
            assert await connection.fetchval("SHOW application_name") != "dirty"
            await connection.execute("SET application_name = 'dirty'")
            await sees_only_its_own_rows(connection)
    assert len(backends) == 1, backends


async def sees_only_its_own_rows(connection):
    owners = await connection.prepare("SELECT DISTINCT user_id FROM todos WHERE id > $1")
    for _ in range(2):
        rows = [tuple(row) for row in await owners.fetch(0)]
        assert rows == [(SUB,)], rows


async def runs_a_transaction(connection):
    before = await count(connection)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO todos (task) VALUES ($1)", "asyncpg")
    assert await count(connection) == before + 1
    await transaction.rollback()
    assert await count(connection) == before


async def is_refused_a_row_of_another(connection):
    try:
        await connection.execute("INSERT INTO todos (user_id, task) VALUES ('somebody else', 'asyncpg')")
    except asyncpg.InsufficientPrivilegeError as error:
        assert error.sqlstate == "42501", error.sqlstate
    else:
        raise AssertionError("a row of somebody else was inserted")


async def cancels_a_query(connection):
    notices = asyncio.Queue()

    def listener(_connection, notice):
        notices.put_nowait((notice.sqlstate, notice.message))

    connection.add_log_listener(listener)
    nap = asyncio.create_task(connection.execute(NAP))
    assert await asyncio.wait_for(notices.get(), 60) == ("00000", "asleep")
    nap.cancel()
    assert await asyncio.wait_for(notices.get(), 60) == ("57014", "cancelled")
    try:
        await nap
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("the nap was not cancelled")
    connection.remove_log_listener(listener)


async def copies_out_and_in(connection):
    out = io.BytesIO()
    await connection.copy_from_table("todos", columns=["user_id"], output=out)
    owners = set(out.getvalue().decode().splitlines())
    assert owners == {SUB}, owners

    await connection.execute("CREATE TEMPORARY TABLE pocket (number int)")
    numbers = ((number,) for number in range(10_000))
    await connection.copy_records_to_table("pocket", records=numbers)
    assert await connection.fetchval("SELECT count(DISTINCT number) FROM pocket") == 10_000


async def count(connection):
    return await connection.fetchval("SELECT count(*) FROM todos")


asyncio.run(main())
