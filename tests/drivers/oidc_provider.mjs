// A real OpenID provider, npm's oidc-provider, on a free loopback port. Prints two lines of
// JSON, {"issuer": URL} and {"token": JWT}, and then serves its keys until it is ended.
// The token is what a client-credentials grant returns: `sub` is SUB (default alice), `aud` is
// AUDIENCE (default pgusher), and `role` is ROLE where that is set.

import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const { SUB = 'alice', AUDIENCE = 'pgusher', ROLE } = process.env
const LIFETIME = 3600 // seconds
const RESOURCE = 'urn:pgusher:database'
const secret = randomBytes(16).toString('hex')

// The library's advice goes to standard error: standard output is for the two lines.
console.info = console.error

const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = `http://127.0.0.1:${server.address().port}`
server.on('request', new Provider(issuer, configuration()).callback())

console.log(JSON.stringify({ issuer }))
console.log(JSON.stringify({ token: await clientCredentialsToken() }))

// A client-credentials token has no user: its subject is the client.
function configuration() {
  return {
    clients: [
      {
        client_id: SUB,
        client_secret: secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys: [signingKey()] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    ttl: { ClientCredentials: LIFETIME },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: '',
          audience: AUDIENCE,
          accessTokenFormat: 'jwt',
          accessTokenTTL: LIFETIME,
        }),
      },
    },
    extraTokenClaims: () => (ROLE ? { role: ROLE } : {}),
  }
}

function signingKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const kid = randomBytes(8).toString('hex')
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid }
}

async function clientCredentialsToken() {
  const discovery = await fetch(`${issuer}/.well-known/openid-configuration`)
  const { token_endpoint } = await discovery.json()
  const response = await fetch(token_endpoint, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${encodeURIComponent(SUB)}:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: RESOURCE }),
  })
  const { access_token, ...rest } = await response.json()
  assert.ok(access_token, `no token: ${JSON.stringify(rest)}`)
  return access_token
}
