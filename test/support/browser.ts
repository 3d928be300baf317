import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContext } from 'playwright-core'
import type { Test } from 'tap'

const CHROMIUM = '/usr/bin/chromium'
const ARGUMENTS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

/**
 * Why a test that needs a browser cannot run here, or `false`. A continuous build without one fails instead: it would
 * look as if the pages had been tested.
 */
export function skipWithoutBrowser (): string | false {
  if (existsSync(CHROMIUM)) return false
  if (process.env['CI'] === 'true') throw new Error(`${CHROMIUM} is missing, and a continuous build needs it`)
  return `${CHROMIUM} is missing: install chromium to run the tests with a real browser`
}

/** Starts a browser that knows nobody yet, and ends it with the test. */
export async function startBrowser (t: Test): Promise<BrowserContext> {
  const profile = mkdtempSync(join(tmpdir(), 'fastify-jwt-extended-'))
  const context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: ARGUMENTS })
  context.setDefaultTimeout(20_000)
  t.teardown(async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  })
  return context
}
