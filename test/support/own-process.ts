/**
 * The environment of a program that a test starts as its user would: what watches this process does not go along.
 * Coverage of TypeScript that tsx has compiled is wrong: it would count every line as covered.
 */
export function ownProcess (): NodeJS.ProcessEnv {
  const { NODE_OPTIONS, ...environment } = process.env
  return { ...environment, NODE_V8_COVERAGE: '', _TAPJS_PROCESSINFO_COVERAGE_: '0' }
}
