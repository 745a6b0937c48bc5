export { Inspector, type InspectorOptions, type InspectorSink } from '../../observe/inspector.js'
export { type InspectorServer, type InspectorServerOptions, serveInspector } from './serve.js'
