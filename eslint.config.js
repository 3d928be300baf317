import neostandard, { plugins } from 'neostandard'

const typescript = plugins['typescript-eslint']

export default [
  ...neostandard({ ts: true, noJsx: true, ignores: ['dist/', '.tap/', 'coverage/', 'node_modules/'] }),
  ...typescript.configs.strict.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // Rows of a table may have more than one column.
      '@stylistic/object-property-newline': 'off',
      // Some names are not ours: they stand in JSON and in claims.
      camelcase: ['error', { properties: 'never', ignoreGlobals: true, allow: ['^(access|refresh|csrf)_token$'] }],
    },
  },
  {
    files: ['**/*.ts'],
    rules: {
      // With noUncheckedIndexedAccess, the index of an element that is there has no other way to say so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Open for declaration merging, so empty by intent.
      '@typescript-eslint/no-empty-object-type': ['error', { allowWithName: '^JwtTypes$' }],
    },
  },
  {
    // What ships: a promise that nobody waits for would be a check that nobody waits for.
    files: ['index.ts', 'lib/**/*.ts', 'types/**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
    },
  },
]
