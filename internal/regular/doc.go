// Package regular opens the files that a configuration names. A pipe or a device in their place, which might keep a
// program waiting or reading for ever, is an error.
package regular
