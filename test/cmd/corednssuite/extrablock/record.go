package extrablock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// AddAndRecord is Add for CoreDNS's tests. It appends the number of added blocks to the file record, which Recorded reads.
// It panics if it cannot: the results of the tests would be worth nothing.
func AddAndRecord(corefile, keytab, record string) string {
	result, added := Add(corefile, keytab)
	f, err := os.OpenFile(record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	_, err = fmt.Fprintln(f, added)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		panic(err)
	}
	return result
}

// Recorded returns how many Corefiles AddAndRecord has seen, and to how many it has added blocks.
func Recorded(record string) (seen, extended int, err error) {
	text, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		seen++
		if line != "0\n" {
			extended++
		}
	}
	return seen, extended, nil
}
