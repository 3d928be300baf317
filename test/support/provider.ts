import type Provider from 'oidc-provider'
import type { Test } from 'tap'
import { pairFor } from './keys.js'
import { listen, type Listener } from './listener.js'

/** The API that the provider's tokens are for. */
export const AUDIENCE = 'https://api.example.com'

type Algorithm = 'RS256' | 'PS256' | 'ES256' | 'EdDSA'

/** An OpenID provider on a port of its own: oidc-provider, with one client that gets access tokens for itself. */
export interface OpenIdProvider extends Listener {
  /** The paths that were asked for. */
  readonly asked: string[]
  /** Gets an access token: a JWT for {@link AUDIENCE}, as RFC 9068 has it. */
  issue (): Promise<string>
  /** Signs with other keys from now on; those before are published as long as they are kept. */
  rotate (keep: boolean): Promise<void>
}

const CLIENT = { client_id: 'robot', client_secret: 'a-secret-that-only-this-client-knows' }

/** Starts a provider that signs by an algorithm. */
export async function startProvider (t: Test, algorithm: Algorithm): Promise<OpenIdProvider> {
  let generation = 0
  let keys: object[] = []
  let handle: ReturnType<Provider['callback']>
  const asked: string[] = []
  const listener = await listen(t, (request, response) => {
    asked.push(new URL(request.url!, 'http://localhost').pathname)
    handle(request, response).catch(() => { response.destroy() })
  })
  const make = (): Promise<Provider> => quietly(async () => {
    const { default: Provider } = await import('oidc-provider')
    return new Provider(listener.origin, configure(algorithm, keys))
  })

  async function rotate (keep: boolean): Promise<void> {
    const { privateKey } = pairFor(algorithm, `provider-${generation++}`)
    keys = [{ ...privateKey.export({ format: 'jwk' }), alg: algorithm, use: 'sig' }, ...keep ? keys : []]
    handle = (await make()).callback()
  }

  async function issue (): Promise<string> {
    const response = await fetch(`${listener.origin}/token`, {
      method: 'POST', body: new URLSearchParams({ ...CLIENT, grant_type: 'client_credentials', resource: AUDIENCE, scope: 'read' }),
    })
    const { access_token: token } = await response.json() as { access_token?: string }
    if (token === undefined) throw new Error(`the provider answered ${response.status}`)
    return token
  }

  await rotate(false)
  return { ...listener, asked, issue, rotate }
}

function configure (algorithm: Algorithm, keys: readonly object[]): Record<string, unknown> {
  const server = { scope: 'read', audience: AUDIENCE, accessTokenFormat: 'jwt', accessTokenTTL: 3600, jwt: { sign: { alg: algorithm } } }
  return {
    jwks: { keys },
    clients: [{
      ...CLIENT, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      token_endpoint_auth_method: 'client_secret_post', id_token_signed_response_alg: algorithm,
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: () => server },
    },
    ttl: { ClientCredentials: 3600 },
  }
}

// What the provider says of this Node.js and of its storage in memory is for those who run one in earnest.
async function quietly<T> (work: () => Promise<T>): Promise<T> {
  const { warn, info } = console
  const silence = (log: typeof warn): typeof warn => (...args) => { if (!/^oidc-provider (WARNING|NOTICE)/.test(String(args[0]))) log(...args) }
  console.warn = silence(warn)
  console.info = silence(info)
  try {
    return await work()
  } finally {
    Object.assign(console, { warn, info })
  }
}
