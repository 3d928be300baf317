import type { Test } from 'tap'

/** Moves the clock of this process by so many seconds, until the test ends. Moves add up. */
export function moveClock (t: Test, seconds: number): void {
  const before = Date.now
  Date.now = () => before() + seconds * 1000
  t.teardown(() => { Date.now = before })
}

/** Stops the clock at a second since 1970, until the test ends. */
export function stopClock (t: Test, second: number): void {
  const before = Date.now
  Date.now = () => second * 1000
  t.teardown(() => { Date.now = before })
}
