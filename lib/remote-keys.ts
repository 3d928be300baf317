import { isTrustworthy, type IssuerSettings } from './trusted-issuers.js'

/** The longest that it may take to get the keys of an issuer, discovery included, in milliseconds. */
const PATIENCE = 5000
/** The most bytes that one answer may have; the largest known key sets have some 30,000. */
const MOST_BYTES = 500_000
const MOST_KEYS = 100
const MOST_HOPS = 3
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]

/** Fetches the key set of an issuer: a list of what may be JWKs. Rejects where there is none to be had. */
export async function fetchKeys ({ issuer, jwksUri }: IssuerSettings): Promise<readonly Record<string, unknown>[]> {
  const signal = AbortSignal.timeout(PATIENCE)
  const set = await fetchJson(jwksUri ?? await discover(issuer, signal), signal)
  const { keys } = set
  if (!Array.isArray(keys)) throw new Error('The key set has no list of keys')
  return keys.slice(0, MOST_KEYS).filter(isRecord)
}

/** Finds where an issuer's keys are: OpenID Connect Discovery 1.0 §4, then RFC 8414 §3. */
async function discover (issuer: string, signal: AbortSignal): Promise<URL> {
  const { origin, pathname } = new URL(issuer)
  const path = pathname.replace(/\/$/, '')
  let failure: unknown
  for (const url of [`${origin}${path}/.well-known/openid-configuration`, `${origin}/.well-known/oauth-authorization-server${path}`]) {
    try {
      return readConfiguration(await fetchJson(new URL(url), signal), issuer)
    } catch (error) {
      failure ??= error
    }
  }
  throw failure
}

function readConfiguration (configuration: Record<string, unknown>, issuer: string): URL {
  // One issuer must not speak for another (RFC 8414 §3.3).
  if (configuration['issuer'] !== issuer) throw new Error("The configuration is another issuer's")
  const text = configuration['jwks_uri']
  const uri = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  // Plain http leads to this host, and nobody elsewhere is to say what is asked there.
  if (uri === undefined || !isTrustworthy(uri) || (uri.protocol === 'http:' && new URL(issuer).protocol !== 'http:')) {
    throw new Error('The configuration has no jwks_uri that begins with https://')
  }
  return uri
}

async function fetchJson (url: URL, signal: AbortSignal, hopsLeft = MOST_HOPS): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    redirect: 'manual',
    signal,
    headers: { accept: 'application/json, application/jwk-set+json' },
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    const target = readRedirect(response, url)
    if (target !== undefined && hopsLeft > 0) return await fetchJson(target, signal, hopsLeft - 1)
    throw new Error(`${nameOf(url)} answered ${response.status}`)
  }
  const parts: Uint8Array[] = []
  let length = 0
  for await (const part of response.body as AsyncIterable<Uint8Array>) {
    length += part.length
    if (length > MOST_BYTES) throw new Error(`${nameOf(url)} answered more than ${MOST_BYTES} bytes`)
    parts.push(part)
  }
  return parse(Buffer.concat(parts).toString('utf8'), url)
}

function parse (text: string, url: URL): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Not in the words of the parser, which quote the text: what others write there is not for a log.
    throw new Error(`${nameOf(url)} answered no JSON`)
  }
  if (!isRecord(value)) throw new Error(`${nameOf(url)} answered no JSON object`)
  return value
}

// Without its query: some key servers take a secret there.
function nameOf ({ origin, pathname }: URL): string {
  return origin + pathname
}

// Another origin was not configured: what leads there may be an open redirect, or aim at a host inside.
function readRedirect ({ status, headers }: Response, url: URL): URL | undefined {
  const location = headers.get('location')
  if (!REDIRECTS.includes(status) || location === null || !URL.canParse(location, url.href)) return undefined
  const target = new URL(location, url)
  // Not by `origin`, which a blob: address shares with the page it is of.
  return target.protocol === url.protocol && target.host === url.host ? target : undefined
}

function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
