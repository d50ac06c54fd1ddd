// The plugin PLUGIN_NAME. Its functions are in the package collector; the bindings export them.
package main

import _ "gauged/bindings/exports"

// Nobody calls it: the agent calls the exported functions.
func main() {}
