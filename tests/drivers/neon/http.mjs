// Neon's serverless driver over HTTP: `node http.mjs PACKAGE`, for its newest version and the older one, in which neon()
// is called as the seed's application calls it. Reads HTTP_ADDRESS PGDATABASE ALICE BOB EXPIRED.

import assert from 'node:assert/strict'
import { NEWEST, check, failure, load, url, USERS } from './driver.mjs'

const name = process.argv[2]
const newest = name === NEWEST
const { neon, neonConfig, NeonDbError, Pool } = await load(name)
const { ALICE, EXPIRED } = process.env

// The driver's form of a query with placeholders: of old the function itself, now its method.
const call = (sql, ...call) => (newest ? sql.query(...call) : sql(...call))
const as = (authToken, options = {}) => neon(url(), { authToken, ...options })
const sql = as(ALICE)
const ME = 'SELECT auth.user_id() AS me'
const EVERYTHING = `DO $$ BEGIN RAISE EXCEPTION E'a "message"\\nof two lines' USING ERRCODE = 'PX001', DETAIL = 'a detail',
  HINT = 'a hint', SCHEMA = 'a schema', TABLE = 'a table', COLUMN = 'a column', DATATYPE = 'a type',
  CONSTRAINT = 'a constraint'; END $$`
const INSERT = 'INSERT INTO todos (task) VALUES ($1) RETURNING id'
// The older version's test runs at the same time, as the same user.
const TOGETHER = `together by ${name}`

await check({ ...tokens(), ...forms(), ...transactions(), ...errors(), ...parameters() })
if (newest) await check(ofTheNewest())
console.log(`ok http ${name}`)

function tokens() {
  return {
    'a token as string, from a function, and from an async one': async () => {
      for (const authToken of [ALICE, () => ALICE, async () => ALICE]) {
        assert.deepEqual(await call(as(authToken), ME), [{ me: 'alice' }])
      }
    },
    'a function is asked for a token each time': async () => {
      const tokens = Object.entries(USERS)
      let turn = 0
      const sql = as(async () => tokens[turn++ % 2][1])
      for (const [me] of [...tokens, ...tokens]) assert.deepEqual(await call(sql, ME), [{ me }])
    },
    'a token as the password of the connection string': async () => {
      assert.deepEqual(await call(neon(url('authenticated', ALICE)), ME), [{ me: 'alice' }])
    },
    'Pool.query() by fetch, with the token as password': async () => {
      neonConfig.poolQueryViaFetch = true
      const pool = new Pool({ connectionString: url('authenticated', ALICE) })
      const result = await pool.query(`${ME}, $1::int AS number`, [7])
      assert.deepEqual(result.rows, [{ me: 'alice', number: 7 }])
      assert.equal(result.viaNeonFetch, true)
      assert.equal((await failure(pool.query('SELECT 1/0'))).code, '22012')
      await pool.end()
      neonConfig.poolQueryViaFetch = false
    },
    'a connection string as Neon has them': async () => {
      const sql = neon(`${url()}?sslmode=require&channel_binding=require&application_name=todos`, { authToken: ALICE })
      const name = "SELECT current_setting('application_name') AS name, auth.user_id() AS me"
      assert.deepEqual(await call(sql, name), [{ name: 'todos', me: 'alice' }])
    },
    'anonymous needs none': async () => {
      const sql = neon(url('anonymous'))
      assert.deepEqual(await call(sql, 'SELECT current_user AS role, auth.user_id() AS me'), [
        { role: 'anonymous', me: null },
      ])
      assert.equal((await call(sql, 'SELECT title FROM posts')).length, 2)
      assert.deepEqual(await call(sql, 'SELECT * FROM todos'), [])
    },
  }
}

function forms() {
  return {
    'a tagged template': async () => {
      const [word, number] = ["it's", 42]
      const rows = await sql`SELECT ${word}::text AS word, ${number}::int + 1 AS more, 'a' || 'b' AS word2`
      assert.deepEqual(rows, [{ word: "it's", more: 43, word2: 'ab' }])
    },
    'a query with placeholders': async () => {
      assert.deepEqual(await call(sql, 'SELECT $2::text AS b, $1::int AS a', [1, 'two']), [{ b: 'two', a: 1 }])
    },
    'a query of the seed': async () => {
      const todos = await call(sql, 'SELECT * FROM todos WHERE user_id = auth.user_id()')
      assert.ok(todos.length > 0 && todos.every((todo) => todo.user_id === 'alice'))
      assert.ok(todos[0].inserted_at instanceof Date)
    },
    'rows as arrays': async () => {
      const rows = await call(sql, 'SELECT 1 AS a, $1::text AS a', ['x'], { arrayMode: true })
      assert.deepEqual(rows, [[1, 'x']])
      assert.deepEqual(await as(ALICE, { arrayMode: true })`SELECT 1, NULL`, [[1, null]])
    },
    'full results': async () => {
      const full = await call(sql, 'SELECT id, user_id, 1::numeric(7,2) AS n FROM todos WHERE false', [], {
        fullResults: true,
      })
      const { fields, rows, command, rowCount, rowAsArray, viaNeonFetch } = full
      assert.deepEqual([rows, command, rowCount, rowAsArray, viaNeonFetch], [[], 'SELECT', 0, false, true])
      const [{ oid }] = await sql`SELECT 'todos'::regclass::oid::int AS oid`
      const format = 'text'
      assert.deepEqual(fields, [
        { name: 'id', dataTypeID: 20, tableID: oid, columnID: 1, dataTypeSize: 8, dataTypeModifier: -1, format },
        { name: 'user_id', dataTypeID: 25, tableID: oid, columnID: 2, dataTypeSize: -1, dataTypeModifier: -1, format },
        // Typmod: 4 more than precision << 16 | scale.
        {
          name: 'n', dataTypeID: 1700, tableID: 0, columnID: 0, dataTypeSize: -1,
          dataTypeModifier: ((7 << 16) | 2) + 4, format,
        },
      ])
    },
    'commands and their counts': async () => {
      const full = as(ALICE, { fullResults: true })
      const task = `counted over HTTP by ${name}`
      const tells = async (query, ...told) => {
        const { command, rowCount, rows } = await query
        assert.deepEqual([command, rowCount, rows.length], told)
      }
      await tells(full`INSERT INTO todos (task) VALUES (${task}), (${task})`, 'INSERT', 2, 0)
      await tells(full`UPDATE todos SET is_complete = true WHERE task = ${task} RETURNING id`, 'UPDATE', 2, 2)
      await tells(full`DELETE FROM todos WHERE task = ${task}`, 'DELETE', 2, 0)
      await tells(full`SELECT generate_series(1, 3)`, 'SELECT', 3, 3)
      await tells(full`SET TIME ZONE 'UTC'`, 'SET', null, 0)
    },
    'nothing at all': async () => {
      assert.deepEqual(await call(sql, ''), [])
      assert.deepEqual(await call(sql, '-- a remark'), [])
    },
  }
}

function transactions() {
  const LEVEL = `SELECT current_setting('transaction_isolation') AS level,
    current_setting('transaction_read_only') AS read_only, current_setting('transaction_deferrable') AS deferrable`
  const level = async (options) => (await sql.transaction([call(sql, LEVEL)], options))[0][0]
  return {
    'all its queries see one another, and are one transaction': async () => {
      const [added, found, removed, id] = await sql.transaction([
        sql`INSERT INTO todos (task) VALUES (${TOGETHER}) RETURNING txid_current()`,
        sql`SELECT task, txid_current() FROM todos WHERE task = ${TOGETHER}`,
        sql`DELETE FROM todos WHERE task = ${TOGETHER} RETURNING txid_current()`,
        sql`SELECT auth.user_id() AS me`,
      ])
      const [{ txid_current }] = added
      assert.deepEqual(found, [{ task: TOGETHER, txid_current }])
      assert.deepEqual([removed, id], [[{ txid_current }], [{ me: 'alice' }]])
    },
    'a function that makes them': async () => {
      const made = await sql.transaction((tx) => [tx`SELECT 1 AS one`, tx`SELECT ${2}::int AS two`])
      assert.deepEqual(made, [[{ one: 1 }], [{ two: 2 }]])
    },
    'options of one of them': async () => {
      const [full, rows] = await sql.transaction([
        call(sql, 'SELECT 1 AS one', [], { fullResults: true }), call(sql, 'SELECT $1::int', [2], { arrayMode: true }),
      ])
      assert.deepEqual([full.rows, full.command, rows], [[{ one: 1 }], 'SELECT', [[2]]])
    },
    'none of them': async () => assert.deepEqual(await sql.transaction([]), []),
    'isolation levels': async () => {
      const off = { read_only: 'off', deferrable: 'off' }
      assert.deepEqual(await level(), { level: 'read committed', ...off })
      const names = { ReadUncommitted: 'read uncommitted', ReadCommitted: 'read committed' }
      Object.assign(names, { RepeatableRead: 'repeatable read', Serializable: 'serializable' })
      for (const [isolationLevel, name] of Object.entries(names)) {
        assert.deepEqual(await level({ isolationLevel }), { level: name, ...off })
      }
    },
    'read only and deferrable': async () => {
      // Not serializable: that would wait for whatever else is serializable in the cluster.
      const all = { isolationLevel: 'RepeatableRead', readOnly: true, deferrable: true }
      assert.deepEqual(await level(all), { level: 'repeatable read', read_only: 'on', deferrable: 'on' })
      assert.equal((await level({ readOnly: true })).read_only, 'on')
      assert.equal((await level({ readOnly: false, deferrable: false })).read_only, 'off')
      const refused = await failure(sql.transaction([call(sql, INSERT, ['x'])], { readOnly: true }))
      assert.equal(refused.code, '25006')
    },
    'options of the function and of the transaction': async () => {
      const sql = as(ALICE, { isolationLevel: 'RepeatableRead', arrayMode: true })
      const [rows] = await sql.transaction([call(sql, LEVEL)])
      assert.deepEqual(rows, [['repeatable read', 'off', 'off']])
      const [full] = await sql.transaction([call(sql, LEVEL)], { fullResults: true, readOnly: true })
      assert.deepEqual([full.rows, full.command], [[['repeatable read', 'on', 'off']], 'SELECT'])
    },
    'one that fails undoes all': async () => {
      const before = await sql`SELECT count(*) FROM todos`
      const task = 'never to be seen'
      const failed = await failure(sql.transaction([call(sql, INSERT, [task]), sql`SELECT 1/0`, sql`SELECT 1`]))
      assert.ok(failed instanceof NeonDbError)
      assert.equal(failed.code, '22012')
      assert.deepEqual(await sql`SELECT count(*) FROM todos`, before)
    },
    'one that ends it is refused, and leaves nothing': async () => {
      const task = 'never to be seen'
      const before = await sql`SELECT count(*) FROM todos`
      await failure(sql.transaction([call(sql, INSERT, [task]), sql`SAVEPOINT a`, sql`ROLLBACK TO b`]))
      assert.deepEqual(await sql`SELECT count(*) FROM todos`, before)
    },
  }
}

function errors() {
  const tells = async (promise, fields) => {
    const error = await failure(promise)
    assert.ok(error instanceof NeonDbError, error)
    const told = Object.fromEntries(Object.keys(fields).map((field) => [field, error[field]]))
    assert.deepEqual(told, fields)
    return error
  }
  return {
    'a mistake in SQL has its position, in characters': async () => {
      await tells(call(sql, "SELECT 'ü😀' FRM todos"), {
        name: 'NeonDbError', code: '42601', severity: 'ERROR', position: '17', message: 'syntax error at or near "todos"',
        routine: 'scanner_yyerror', file: 'scan.l',
      })
    },
    'a name that does not exist has a hint': async () => {
      await tells(sql`SELECT tusk FROM todos`, {
        code: '42703', position: '8', hint: 'Perhaps you meant to reference the column "todos.task".',
      })
    },
    'a unique violation has its constraint': async () => {
      const [{ id }] = await sql`SELECT min(id) AS id FROM todos`
      // No detail: Postgres keeps the key to itself where there are policies.
      await tells(sql`INSERT INTO todos (id, task) VALUES (${id}, 'again')`, {
        code: '23505', schema: 'public', table: 'todos', constraint: 'todos_pkey', detail: undefined,
      })
    },
    'whatever else an error may have': async () => {
      await tells(call(sql, EVERYTHING), {
        message: 'a "message"\nof two lines', code: 'PX001', detail: 'a detail', hint: 'a hint', schema: 'a schema',
        table: 'a table', column: 'a column', dataType: 'a type', constraint: 'a constraint',
        where: 'PL/pgSQL function inline_code_block line 1 at RAISE', file: 'pl_exec.c', routine: 'exec_stmt_raise',
      })
    },
    'a null where there must be none has its column': async () => {
      await tells(sql`INSERT INTO todos (task) VALUES (${null})`, { code: '23502', table: 'todos', column: 'task' })
    },
    'an error within a function has its context': async () => {
      const error = await tells(sql`SELECT json_populate_record(null::posts, '{"id": "x"}')`, { code: '22P02' })
      assert.equal(error.severity, 'ERROR')
      const raised = await failure(sql`DO $$ BEGIN EXECUTE 'SELECT nothing'; END $$`)
      assert.deepEqual([raised.internalQuery, raised.internalPosition], ['SELECT nothing', '8'])
      assert.match(raised.where, /inline_code_block/)
    },
    'a foreign row is refused': async () => {
      await tells(sql`INSERT INTO todos (user_id, task) VALUES ('bob', 'x')`, {
        code: '42501', message: 'new row violates row-level security policy for table "todos"',
      })
    },
    'a bad token': async () => {
      const forged = `${ALICE.slice(0, -8)}AAAAAAAA`
      for (const bad of ['nonsense', forged, EXPIRED, '']) {
        for (const sql of [as(bad), neon(url('authenticated', bad))]) {
          const error = await tells(call(sql, ME), { code: '28P01' })
          assert.ok(bad === '' || !JSON.stringify(error).includes(bad))
        }
      }
      assert.match((await failure(call(as(EXPIRED), ME))).detail, /expired/)
      await tells(call(neon(url()), ME), { code: '28P01' })
    },
    'roles that the token does not allow': async () => {
      for (const role of ['postgres', 'pgusher_authenticated', 'nobody']) {
        await tells(call(neon(url(role), { authToken: ALICE }), ME), { code: '28000' })
      }
    },
    'a database that is not there': async () => {
      await tells(call(neon(url('authenticated', undefined, 'nowhere'), { authToken: ALICE }), ME), { code: '3D000' })
    },
    'two statements in one query': async () => {
      await tells(call(sql, 'SELECT 1; SELECT 2'), { code: '42601' })
    },
    'the wrong number of parameters': async () => {
      await tells(call(sql, 'SELECT $1::int', []), { code: '08P01' })
      await tells(call(sql, 'SELECT 1', [1]), { code: '08P01' })
    },
    'what is too large': async () => {
      const request = await failure(call(sql, 'SELECT $1::text', ['x'.repeat(11 << 20)]))
      assert.match(request.message, /HTTP status 413/)
      const answer = await failure(call(sql, "SELECT repeat('x', 11 << 20)"))
      assert.match(answer.message, /HTTP status 507/)
    },
    'a value that is none': async () => {
      await tells(call(sql, 'SELECT $1::int', ['many']), { code: '22P02' })
    },
  }
}

function parameters() {
  return {
    'a megabyte there and back': async () => {
      const big = 'ü"\\\n'.repeat(200_000)
      const [{ text, length }] = await sql`SELECT ${big}::text AS text, length(${big}) AS length`
      assert.ok(text === big)
      assert.equal(length, 800_000)
    },
    'bytes': async () => {
      const bytes = Buffer.from(Uint8Array.from({ length: 100_000 }, (_, index) => index % 256))
      const [row] = await sql`SELECT ${bytes}::bytea AS bytes, ${Buffer.alloc(0)}::bytea AS none`
      assert.deepEqual([Buffer.compare(row.bytes, bytes), row.none.length], [0, 0])
    },
    'null and undefined': async () => {
      assert.deepEqual(await call(sql, 'SELECT $1::text AS a, $2::int AS b', [null, undefined]), [{ a: null, b: null }])
    },
    'arrays': async () => {
      const [row] = await call(sql, 'SELECT $1::int[] AS a, $2::text[] AS b, $3::text[] AS c', [
        [[1, 2], [3, null]], ['', 'NULL', null, '{"a"}', 'b\\c', 'd,e'], [],
      ])
      assert.deepEqual(row, {
        a: [[1, 2], [3, null]], b: ['', 'NULL', null, '{"a"}', 'b\\c', 'd,e'], c: [],
      })
      assert.deepEqual(await sql`SELECT 2 = ANY(${[1, 2]}::int[]) AS there`, [{ there: true }])
    },
    'objects': async () => {
      const object = { a: [1, 'two', null], 'ü"': { b: false } }
      assert.deepEqual(await sql`SELECT ${object}::jsonb AS b, ${object}::json AS j`, [{ b: object, j: object }])
    },
    'moments, numbers and truths': async () => {
      const moment = new Date('2024-02-29T12:34:56.789Z')
      const [row] = await sql`SELECT ${moment}::timestamptz AS moment, ${2n ** 63n - 1n}::int8 AS big,
        ${1.5}::float8 AS number, ${-0}::int AS zero, ${true}::bool AS truth`
      assert.deepEqual(row, { moment, big: '9223372036854775807', number: 1.5, zero: 0, truth: true })
    },
  }
}

function ofTheNewest() {
  return {
    'a token as the option password': async () => {
      for (const password of [ALICE, () => ALICE, async () => ALICE]) {
        assert.deepEqual(await neon(url(), { password }).query(ME), [{ me: 'alice' }])
      }
      const all = { user: 'authenticated', password: ALICE, host: 'db.example.com', database: process.env.PGDATABASE }
      assert.deepEqual(await neon(all).query(ME), [{ me: 'alice' }])
    },
    'templates in templates': async () => {
      const condition = sql`user_id = ${'alice'} AND task <> ${''}`
      const rows = await sql`SELECT DISTINCT user_id FROM ${sql.unsafe('todos')} WHERE ${condition}`
      assert.deepEqual(rows, [{ user_id: 'alice' }])
    },
    'the name of the application': async () => {
      const [{ name }] = await sql`SELECT current_setting('application_name') AS name`
      assert.match(name, /serverless@/)
    },
    'a request that is given up': async () => {
      const given = AbortSignal.abort('enough')
      const error = await failure(sql.query('SELECT 1', [], { fetchOptions: { signal: given } }))
      assert.equal(error.sourceError, 'enough')
    },
  }
}
