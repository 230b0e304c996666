// Etcdserver is the etcd server, for tests. It is a module of its own, so that nothing of the server is among what
// the product requires.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
