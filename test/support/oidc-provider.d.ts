// The package has no types of its own; these are as much of them as is used here.
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export default class Provider {
    constructor (issuer: string, configuration?: object)
    callback (): (request: IncomingMessage, response: ServerResponse) => Promise<void>
  }
}
