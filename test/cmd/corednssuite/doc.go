// Command corednssuite runs CoreDNS's own integration tests twice, on CoreDNS's listener and on this project's, and compares the
// results. The tests are those of package test in the version of CoreDNS that go.mod requires.
//
//	corednssuite [-run REGEXP] [-keep] [-timeout DURATION]
//
// Nothing of these tests is in the repository. The program copies the CoreDNS module from the module cache into a temporary
// directory and compiles the tests there. For the second run it hooks into the helper that all tests start their servers with:
// each Corefile gets a server block with gsstsig, see hook.go and package extrablock. Both runs use the same versions of all
// modules.
//
// A test that passes on CoreDNS's listener alone makes the program fail, unless known.go gives a reason. An entry of known.go
// whose results no longer differ makes it fail too. Some tests depend on fixed ports and on time, so both runs are repeated
// where results differ. A difference that is not there again is only printed and counted.
//
// The program must run inside this repository. It needs the go command, and no network but the module proxy.
package main
