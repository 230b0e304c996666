//go:build !race

package server

const detectRaces = false
