/** Whether a value has to be waited for. What is not is used at once, so that synchronous parts cost no promise. */
export function isPromise<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}
