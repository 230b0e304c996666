//go:build race

package server

// detectRaces makes the server under test be built with the race detector when the test is.
const detectRaces = true
