export { planOf, runPlan } from './run.js'
