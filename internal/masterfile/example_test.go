package masterfile_test

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/masterfile"
)

// The records of a file, printed as a Writer has them.
func ExampleReader() {
	const zone = `$TTL 1h
@ SOA ns1 hostmaster ( 1 ; serial
	15m 10m 1d 5m )
  NS ns1
;gsstsig: owner pc1 "host/pc1.example.test@EXAMPLE.TEST"
$GENERATE 1-2 pc$ 60 A 192.0.2.$
pc2 AAAA 2001:db8::g
`
	r := masterfile.NewReader(strings.NewReader(zone), masterfile.Config{
		Origin: []byte("\x07example\x04test\x00"),
		File:   "db.example.test",
		Annotate: func(a masterfile.Annotation) error {
			fmt.Printf("%s:%d: %q\n", a.File, a.Line, a.Words)
			return nil
		},
	})
	w := masterfile.NewWriter(os.Stdout)
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			break
		}
		if err := w.Record(record); err != nil {
			fmt.Println(err)
		}
		if err := w.Flush(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// example.test. 3600 IN SOA ns1.example.test. hostmaster.example.test. 1 900 600 86400 300
	// example.test. 3600 IN NS ns1.example.test.
	// db.example.test:5: ["owner" "pc1" "host/pc1.example.test@EXAMPLE.TEST"]
	// pc1.example.test. 60 IN A 192.0.2.1
	// pc2.example.test. 60 IN A 192.0.2.2
	// db.example.test:7: AAAA: address: "2001:db8::g" is not an IPv6 address
}
