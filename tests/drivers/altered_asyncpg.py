"""asyncpg, which prepares a statement anew if its table was altered.

Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB OWNER_URL and OTHER, the token of somebody who takes the one server there is.
"""

import asyncio
import os

import asyncpg


async def main():
    mine, others, owner = await asyncio.gather(
        asyncpg.connect(password=os.environ["TOKEN"]),
        asyncpg.connect(password=os.environ["OTHER"]),
        asyncpg.connect(os.environ["OWNER_URL"]),
    )
    before = await mine.fetch("SELECT * FROM todos")
    await others.execute("SELECT 1")
    await owner.execute("ALTER TABLE todos ADD more int DEFAULT 7")
    after = await mine.fetch("SELECT * FROM todos")
    assert [dict(row) for row in after] == [{**row, "more": 7} for row in before], (before, after)
    await asyncio.gather(mine.close(), others.close(), owner.close())
    print("ok asyncpg")


asyncio.run(main())
