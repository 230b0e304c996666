//go:build !unix

package admin

import (
	"errors"
	"flag"

	"github.com/gsstsig/coredns-gsstsig/internal/diagnose"
	"github.com/gsstsig/coredns-gsstsig/plugin/internal/corefile"
)

const corefileOnInput = "GSSTSIG_COREFILE_ON_INPUT"

func runAs(string, string, string, *flag.FlagSet, Streams) (status int, done bool, err error) {
	return 0, false, errors.New("-user needs a Unix system")
}

func (c *checker) user(*corefile.Configuration) {}

func databaseAccess(*corefile.Block) []diagnose.Finding { return nil }
