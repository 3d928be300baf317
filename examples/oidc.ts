// An API whose callers log in elsewhere: an OpenID provider issues the tokens, the guards take them, the caller is looked
// up by issuer and `sub`, and one route is for a group only. The provider is started along with the API.
//
//   npx tsx examples/oidc.ts          (the provider asks for Node.js 22)

import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type preHandlerAsyncHookHandler } from 'fastify'
import Provider from 'oidc-provider'
import jwtExtended from '../index.js' // in your application: 'fastify-jwt-extended'

// What the provider calls this API: the `aud` of the tokens that are meant for it. Any other token is refused.
const API = 'https://api.example.com'

interface Account {
  name: string
}

export async function buildApp (issuer: string): Promise<FastifyInstance> {
  // A table of your database, with both columns in its key: another provider may give the same `sub` to somebody else.
  const accounts = new Map<string, Account>([
    [`${issuer} nightly-report`, { name: 'The nightly report' }],
    [`${issuer} status-page`, { name: 'The status page' }],
  ])

  const app = Fastify()
  await app.register(jwtExtended, {
    // There is no key of our own, since this API issues nothing. The provider's keys are fetched when a token comes.
    issuers: [{ issuer, audience: API, algorithms: ['RS256'] }],
    // Nobody found is a 401. Or make the account here, when somebody comes for the first time.
    userLookupLoader: (jwtHeader, { iss, sub }) => accounts.get(`${iss} ${sub}`),
  })

  // Runs after the guard, so the claims are verified. What they say is for the application to judge.
  const reportersOnly: preHandlerAsyncHookHandler = async (request, reply) => {
    const { groups } = request.jwt
    if (!Array.isArray(groups) || !groups.includes('reporters')) return reply.code(403).send({ msg: 'Reporters only' })
  }

  app.get('/who_am_i', { onRequest: app.jwtRequired() }, async (request) => {
    return { name: (request.currentUser as Account).name, id: request.jwtIdentity }
  })

  app.get('/reports', { onRequest: app.jwtRequired(), preHandler: reportersOnly }, async () => {
    return { reports: ['Sunday', 'Monday'] }
  })

  return app
}

/** The other side: Keycloak, Auth0, Entra ID, or whatever your people log in with. See docs/identity-providers.md. */
async function startProvider () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048, privateKeyEncoding: { format: 'pem', type: 'pkcs8' }, publicKeyEncoding: { format: 'pem', type: 'spki' },
  })
  const groups = new Map([['nightly-report', ['reporters']], ['status-page', []]])
  // Programs log in without a page to do it on. The tokens of people look alike.
  const clients = [...groups.keys()].map((id) => ({
    client_id: id, client_secret: randomBytes(16).toString('hex'), grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
  }))

  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [createPrivateKey(privateKey).export({ format: 'jwk' })] },
    ttl: { ClientCredentials: 600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      // A token is for the resource that it was asked for, and a JWT.
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context: unknown, resource: string) => ({ audience: resource, scope: '', accessTokenFormat: 'jwt' }),
      },
    },
    extraTokenClaims: (context: unknown, token: { clientId: string }) => ({ groups: groups.get(token.clientId) }),
  })
  server.on('request', provider.callback())
  return { issuer, clients }
}

async function start (): Promise<void> {
  const { issuer, clients } = await startProvider()
  const app = await buildApp(issuer)
  const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  const [report, page] = clients.map(({ client_id: id, client_secret: secret }) => {
    const request = `curl -s -u ${id}:${secret} ${issuer}/token -d grant_type=client_credentials -d resource=${API}`
    return `TOKEN=$(${request} | node -p 'JSON.parse(fs.readFileSync(0)).access_token')`
  })
  console.log(`
Listening on ${address}, and the provider on ${issuer}. To try it, copy these lines into another terminal.

Get a token from the provider, as a program of the group:
  ${report}

The API knows who it is, and lets it in:
  curl ${address}/who_am_i -H "Authorization: Bearer $TOKEN"
  curl ${address}/reports -H "Authorization: Bearer $TOKEN"

Another program is not of the group, and is refused:
  ${page}
  curl ${address}/reports -H "Authorization: Bearer $TOKEN"
`)
}

// Started as a program, not imported by a test.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) await start()
