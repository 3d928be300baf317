import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The top of the repository, without a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[/\\]$/, '')

/** The pages that readers are given: the README and all of docs/. */
export const PAGES: readonly string[] = [
  'README.md', ...readdirSync(`${root}/docs`).filter((name) => name.endsWith('.md')).sort().map((name) => `docs/${name}`),
]

export function readPage (page: string): string {
  return readFileSync(`${root}/${page}`, 'utf8')
}

/** A piece of code on a page. */
export interface Block {
  /** The heading it stands under, and which one of its language it is there: `Quick start 1`. */
  readonly name: string
  readonly language: string
  readonly code: string
  /** Whether `<!-- goes on -->` stands before it: then it goes on from the block before it. */
  readonly goesOn: boolean
}

const GOES_ON = '<!-- goes on -->'

/** All blocks of a page, in order. A fence that could hide one from its test is an error. */
export function readBlocks (page: string): Block[] {
  const blocks: Block[] = []
  const counts = new Map<string, number>()
  let heading = ''
  let lastLine = ''
  let open: { language: string, goesOn: boolean, lines: string[] } | undefined
  for (const [index, line] of readPage(page).split('\n').entries()) {
    const fence = /^\s*(?:`{3,}|~{3,})/.test(line) ? /^```(\w*)$/.exec(line) : undefined
    if (fence === null) throw new Error(`${page}:${index + 1}: a fence is three backticks at the start of a line, and one word: ${line}`)
    if (open !== undefined && fence !== undefined) {
      const { language, goesOn, lines } = open
      const key = `${heading} ${language}`
      const count = (counts.get(key) ?? 0) + 1
      counts.set(key, count)
      blocks.push({ name: `${heading} ${count}`, language, code: `${lines.join('\n')}\n`, goesOn })
      open = undefined
    } else if (open !== undefined) {
      open.lines.push(line)
    } else if (fence !== undefined) {
      open = { language: fence[1]!, goesOn: lastLine === GOES_ON, lines: [] }
    } else {
      heading = /^#+ (.+)$/.exec(line)?.[1] ?? heading
      if (line !== '') lastLine = line
    }
  }
  if (open !== undefined) throw new Error(`${page}: the last fence is never closed`)
  return blocks
}

/** The text of a page without its blocks. */
export function readProse (page: string): string {
  return readPage(page).replaceAll(/^```[^]*?^```$/gm, '')
}

/** The rows of all tables of a page whose first column has this title: one list of cells each. */
export function readRows (page: string, title: string): string[][] {
  const rows: string[][] = []
  let inside = false
  for (const line of readProse(page).split('\n')) {
    if (!line.startsWith('|')) {
      inside = false
      continue
    }
    const cells = line.split('|').slice(1, -1).map((cell) => cell.trim())
    if (cells[0] === title) inside = true
    else if (inside && !/^:?-+:?$/.test(cells[0]!)) rows.push(cells)
  }
  return rows
}

/** The text of a cell without its backticks. */
export function unquote (cell: string | undefined): string {
  return (cell ?? '').replaceAll('`', '')
}

/** The members of an interface of types/ and the defaults that their comments name, `–` where they name none. */
export function readMembers (file: string, name: string): string[][] {
  const source = readFileSync(`${root}/types/${file}.ts`, 'utf8')
  const body = new RegExp(`^export interface ${name} [^]*?\\{$([^]*?)^\\}$`, 'm').exec(source)?.[1]
  if (body === undefined) throw new Error(`types/${file}.ts has no interface ${name}`)
  return [...body.matchAll(/\/\*\*([^]*?)\*\/\s+(\w+)\?:/g)].map(([, comment, member]) => {
    const fallback = /@default ([^]*)/.exec(comment!)?.[1]?.replaceAll(/\s+\*?\s*/g, ' ').trim() ?? '–'
    return [member!, fallback.replace(/:.*/, '')]
  })
}
