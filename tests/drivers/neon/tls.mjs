// Neon's serverless driver under TLS, by HTTP and WebSocket, and HTTP/2 as Node.js speaks it, on the same port.
// Reads HTTPS_PORT PGDATABASE ALICE BOB; the authority that certified the proxy is in NODE_EXTRA_CA_CERTS.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { json } from 'node:stream/consumers'
import { check, load, NEWEST, OLDER, url, USERS } from './driver.mjs'

const { HTTPS_PORT, PGDATABASE } = process.env
const ADDRESS = `localhost:${HTTPS_PORT}`
const ME = 'SELECT auth.user_id() AS me'

await check({
  'the driver by HTTP': async () => {
    for (const name of [NEWEST, OLDER]) {
      const { neon } = await secure(name)
      for (const [me, authToken] of Object.entries(USERS)) {
        assert.deepEqual(await neon(url(), { authToken })`SELECT auth.user_id() AS me`, [{ me }])
      }
    }
  },
  'the driver by WebSocket': async () => {
    for (const name of [NEWEST, OLDER]) {
      const { Pool } = await secure(name)
      for (const [me, token] of Object.entries(USERS)) {
        const pool = new Pool({ connectionString: url('authenticated', token) })
        assert.deepEqual((await pool.query(ME)).rows, [{ me }])
        await pool.end()
      }
    }
  },
  'HTTP/2, two users in a hundred streams of one connection': async () => {
    const session = http2.connect(`https://${ADDRESS}`)
    const users = Object.entries(USERS)
    const asked = Array.from({ length: 100 }, async (_, turn) => {
      const [me, token] = users[turn % users.length]
      assert.deepEqual(await ask(session, token), { status: 200, rows: [{ me }] })
    })
    await Promise.all(asked)
    assert.equal(session.alpnProtocol, 'h2')
    assert.equal((await ask(session, 'nonsense')).status, 401)
    session.close()
    await once(session, 'close')
  },
})
console.log('ok tls')

async function secure(name) {
  const driver = await load(name)
  driver.neonConfig.fetchEndpoint = `https://${ADDRESS}/sql`
  driver.neonConfig.wsProxy = `${ADDRESS}/v2`
  driver.neonConfig.useSecureWebSocket = true
  return driver
}

async function ask(session, token) {
  const stream = session.request({
    ':method': 'POST', ':path': '/sql', authorization: `Bearer ${token}`, 'pgusher-role': 'authenticated',
    'pgusher-database': PGDATABASE,
  })
  stream.end(JSON.stringify({ query: ME }))
  const [headers] = await once(stream, 'response')
  const { rows } = await json(stream)
  return { status: headers[':status'], rows }
}
