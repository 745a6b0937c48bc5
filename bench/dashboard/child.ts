import { serveLoad } from './gateway.js'

serveLoad(Number(process.argv[2]))
