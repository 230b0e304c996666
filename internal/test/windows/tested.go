package windows

import "github.com/gsstsig/coredns-gsstsig/internal/test/tested"

// Tested is the client in the table of what the tests ran.
var Tested = tested.Client{Name: "Windows' wire form (own client)"}
