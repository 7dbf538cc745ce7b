// The server part: serves the page, and asks the database one thing itself, with the token of whoever is logged in.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { neon, neonConfig } from '@neondatabase/serverless'

const { HTTP_URL, ISSUER_URL, CLIENT_ID, AUDIENCE, DATABASE_AUTHENTICATED_URL } = process.env
const { port, hostname } = new URL(process.env.APP_URL ?? 'http://127.0.0.1:3000')

neonConfig.fetchEndpoint = `${HTTP_URL}/sql`

// What the page needs to know. Nothing of it is a secret: the database's URL has a role and no password.
const settings = JSON.stringify({
  issuer: ISSUER_URL,
  clientId: CLIENT_ID,
  audience: AUDIENCE,
  httpUrl: HTTP_URL,
  databaseUrl: DATABASE_AUTHENTICATED_URL,
})

// The page runs what it came with, and talks to pgusher and the issuer alone.
const websockets = HTTP_URL.replace(/^http/, 'ws')
const headers = {
  'content-security-policy': `default-src 'self'; connect-src 'self' ${HTTP_URL} ${websockets} ${ISSUER_URL}`,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

const file = (path, type) => async () => [200, type, await readFile(new URL(path, import.meta.url))]

const routes = {
  '/': file('page/index.html', 'text/html; charset=utf-8'),
  '/style.css': file('page/style.css', 'text/css'),
  '/app.js': file('dist/app.js', 'text/javascript'),
  '/app.js.map': file('dist/app.js.map', 'application/json'),
  '/settings.json': async () => [200, 'application/json', settings],
  '/progress': progress,
}

async function progress(request) {
  const token = request.headers.authorization?.match(/^Bearer (.+)$/)?.[1]
  if (!token) return [401, 'text/plain', 'log in first']
  const sql = neon(DATABASE_AUTHENTICATED_URL, { authToken: async () => token })
  // Row-Level Security leaves the user's own rows anyway.
  const [{ done, total }] = await sql`
    SELECT count(*) FILTER (WHERE is_complete) AS done, count(*) AS total
    FROM todos WHERE user_id = auth.user_id()`
  return [200, 'text/plain', `${done} of ${total} done`]
}

const server = createServer(async (request, response) => {
  const route = routes[new URL(request.url, 'http://localhost').pathname]
  let answer = [404, 'text/plain', 'not found']
  try {
    if (route) answer = await route(request)
  } catch (error) {
    console.error(error)
    // 28P01: the token is refused, most often because it has expired.
    answer = error.code === '28P01' ? [401, 'text/plain', 'log in again'] : [500, 'text/plain', 'that failed']
  }
  const [status, type, body] = answer
  response.writeHead(status, { ...headers, 'content-type': type }).end(body)
})

server.on('error', (error) => {
  console.error(`The todos cannot be served: ${error.message}`)
  process.exit(1)
})
server.listen(Number(port), hostname, () => console.log(`The todos are at http://${hostname}:${port}`))
