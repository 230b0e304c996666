// Package dnsutils runs BIND's nsupdate and dig as an administrator would, and reads what they print.
package dnsutils
