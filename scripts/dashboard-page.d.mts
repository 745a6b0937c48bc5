/** For the build and the tests alike: Rolldown and Vite take the same plugins. */
export function dashboardPage(): {
  name: string
  load: { filter: { id: RegExp }; handler: (id: string) => Promise<{ code: string; moduleType: 'js' }> }
}
