// Package e2e holds the end-to-end tests: the CoreDNS that this project builds, a throw-away MIT realm, and clients that
// share no code with the server (nsupdate, and the C client of internal/test/gssclient on MIT's GSSAPI library).
//
// The tests have the build tag e2e, so that "go test ./..." needs no program but Go. "make test" runs them after
// installing what they need; a program that is missing fails them.
//
// They end with a table of what was tried, see package tested.
//
// The clients themselves are proven against BIND's named by the same tests, as far as named can do what is tested.
package e2e
