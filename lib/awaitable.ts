/**
 * Whether a value has to be waited for. What has not is used at once, so that synchronous parts cost no promise. What
 * has goes through `Promise.resolve`: there are values whose `then` gives nothing back, and nothing looks like done.
 */
export function isPromise<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
