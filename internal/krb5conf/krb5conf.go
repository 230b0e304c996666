// Package krb5conf reads krb5.conf for clients, with MIT's defaults where gokrb5 has others.
package krb5conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/jcmturner/gokrb5/v8/config"
)

// standard is where MIT's library looks.
const standard = "/etc/krb5.conf"

// Default is the file that MIT's library reads: the one that KRB5_CONFIG names, or /etc/krb5.conf.
func Default() string {
	if file := os.Getenv("KRB5_CONFIG"); file != "" {
		return file
	}
	return standard
}

// defaults has what gokrb5 takes to be off and MIT's library to be on: KDCs that the file does not name are found by SRV records.
// A section of its own after it keeps the first lines of the file out of it.
const defaults = "[libdefaults]\ndns_lookup_kdc = true\n[end]\n"

// Load reads a krb5.conf. A machine need not have /etc/krb5.conf: every setting has its default then. What gokrb5 does not support
// is passed over.
func Load(file string) (*config.Config, error) { return load(file, standard) }

// load reads a file, which need not exist if it is the optional one.
func load(file, optional string) (*config.Config, error) {
	text, err := read(file)
	if err != nil && (file != optional || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("krb5.conf: %w", err)
	}
	conf, err := config.NewFromReader(strings.NewReader(defaults + string(text)))
	var unsupported config.UnsupportedDirective
	if err != nil && !errors.As(err, &unsupported) {
		return nil, fmt.Errorf("krb5.conf %s: %w", file, err)
	}
	for _, realm := range conf.Realms {
		for i, kdc := range realm.KDC {
			realm.KDC[i] = withPort(kdc)
		}
	}
	return conf, nil
}

// withPort adds the port to the address of a KDC if it is an IPv6 address in brackets without one: gokrb5 takes a colon in it for
// the port's.
func withPort(kdc string) string {
	if strings.HasPrefix(kdc, "[") && strings.HasSuffix(kdc, "]") {
		return kdc + ":88"
	}
	return kdc
}

// maxSize bounds what is read.
const maxSize = 1 << 20

// read returns a file's content. A device such as /dev/null, in KRB5_CONFIG, is a file too.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s has more than %d octets", file, maxSize)
	}
	return text, err
}
