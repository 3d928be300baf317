/** An estimate of a server's clock, learnt from its answers. All times are milliseconds. */
export interface ServerClock {
  /** A local time by the server's clock, no later than it will be there; 0 until an answer has told. */
  at (local: number): number
  /** Learns from an answer when the server's clock showed a time: some moment between question and answer. */
  learn (serverTime: number, askedAt: number, answeredAt: number): void
}

/**
 * Makes the estimate. It is never ahead of the server, so that nothing passes a deadline made by it that is too late. An
 * answer that does not fit it replaces it: either clock may jump, and the nodes of a cluster may differ.
 */
export function createServerClock (): ServerClock {
  let offset: number | undefined
  return {
    at: (local) => offset === undefined ? 0 : local + offset,
    learn (serverTime, askedAt, answeredAt) {
      const least = serverTime - answeredAt
      // The server tells whole milliseconds, rounded down.
      const most = serverTime + 1 - askedAt
      if (offset === undefined || offset < least || offset > most) offset = least
    },
  }
}
