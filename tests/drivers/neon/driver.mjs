// What the scripts about Neon's serverless driver share: the driver itself, sent to the proxy, and who asks.
// Reads HTTP_ADDRESS (host:port), PGDATABASE, and the tokens ALICE and BOB.

import assert from 'node:assert/strict'
import WebSocket from 'ws'

const { HTTP_ADDRESS, PGDATABASE, ALICE, BOB } = process.env

export const NEWEST = '@neondatabase/serverless'
export const OLDER = 'neon-serverless-0-10'
export const USERS = { alice: ALICE, bob: BOB }

// Nothing listens there: the driver takes it apart and sends it along, but asks at `fetchEndpoint` and `wsProxy`.
export const ELSEWHERE = 'db.example.com'

// A version of the driver with the two changes that the seed's application needs, and what Node.js 20 lacks.
export async function load(name) {
  const driver = await import(name)
  driver.neonConfig.fetchEndpoint = `http://${HTTP_ADDRESS}/sql`
  driver.neonConfig.wsProxy = `${HTTP_ADDRESS}/v2`
  driver.neonConfig.useSecureWebSocket = false
  driver.neonConfig.webSocketConstructor = WebSocket
  return driver
}

// A connection string for a role, with a token or password in it where there is one.
export function url(role = 'authenticated', password = undefined, database = PGDATABASE) {
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  return `postgresql://${role}${secret}@${ELSEWHERE}/${database}`
}

// Runs each of these functions, and says of which one something failed.
export async function check(facts) {
  for (const [name, fact] of Object.entries(facts)) {
    try {
      await fact()
    } catch (error) {
      console.error(`failed: ${name}`)
      throw error
    }
  }
}

// What a promise is rejected with.
export async function failure(promise) {
  let value
  try {
    value = await promise
  } catch (error) {
    return error
  }
  assert.fail(`this should have failed, and answered ${JSON.stringify(value)}`)
}
