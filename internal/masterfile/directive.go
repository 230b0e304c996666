package masterfile

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// directive reads a line that begins with a dollar sign.
func (r *Reader) directive(e entry) error {
	name, arguments := strings.ToUpper(e.words[0].text), e.words[1:]
	fewest, most, usage := 1, 1, ""
	var do func(line int, arguments []word) error
	switch name {
	case "$ORIGIN":
		do, usage = r.setOrigin, "NAME"
	case "$TTL":
		do, usage = r.setTTL, "SECONDS"
	case "$DATE":
		do, usage = r.date, "YYYYMMDDHHMMSS"
	case "$INCLUDE":
		do, usage, most = r.include, "FILE [ORIGIN]", 2
	case "$GENERATE":
		do, usage, fewest, most = r.startGenerate, "START-STOP[/STEP] NAME [TTL] [CLASS] TYPE RDATA", 4, 6
	default:
		return r.errorf(e.line, "unknown directive %s. Fix: use $ORIGIN, $TTL, $INCLUDE, $GENERATE or $DATE, "+
			`and write a name that begins with a dollar sign as \$`, quote(e.words[0].text))
	}
	if len(arguments) < fewest || len(arguments) > most {
		if name == "$GENERATE" && len(arguments) > most {
			usage += ", with RDATA in quotes if it has spaces"
		}
		return r.errorf(e.line, "wrong number of words after %s: %d. Fix: write %s %s", name, len(arguments), name, usage)
	}
	return do(e.line, arguments)
}

func (r *Reader) setOrigin(line int, arguments []word) error {
	f := r.current()
	origin, err := dnswire.ParseName(arguments[0].text, f.origin)
	if err != nil {
		return r.wrap(line, "$ORIGIN "+quote(arguments[0].text), err)
	}
	f.origin, f.ownerText, f.originChanged = origin, "", true
	return nil
}

// setTTL reads $TTL (RFC 2308 section 4).
func (r *Reader) setTTL(line int, arguments []word) error {
	ttl, ok := parseTTL(arguments[0].text)
	if !ok || arguments[0].quoted {
		return r.errorf(line, "$TTL %s is not a TTL. Fix: write seconds, or numbers with the units w, d, h, m and s", quote(arguments[0].text))
	}
	r.defaultTTL, r.defaultTTLKnown = r.limitTTL(line, ttl), true
	return nil
}

// date reads $DATE, which BIND writes into the dump of a cache: the time from
// which TTLs count. Records of a zone do not age, so it has no effect.
func (r *Reader) date(line int, arguments []word) error {
	const layout = "20060102150405"
	text := arguments[0].text
	date, err := time.Parse(layout, text)
	if err != nil || len(text) != len(layout) || date.Year() < 1970 || date.Unix() > 1<<32-1 {
		return r.errorf(line, "$DATE %s is not a time from 1970 to 2106 as YYYYMMDDHHMMSS", quote(text))
	}
	r.dated = true
	return nil
}

func (r *Reader) include(line int, arguments []word) error {
	f := r.current()
	switch {
	case r.config.Open == nil:
		return r.errorf(line, "$INCLUDE is not permitted here. Fix: make one file of them with named-compilezone first")
	case r.dated:
		return r.errorf(line, "$INCLUDE after $DATE is not permitted (as in BIND). Fix: remove $DATE")
	case len(r.files) == maxDepth:
		return r.errorf(line, "$INCLUDE: more than %d files within each other", maxDepth)
	case r.includes == maxIncludes:
		return r.errorf(line, "more than %d $INCLUDE", maxIncludes)
	}
	name := arguments[0].text
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(f.name), name)
	}
	if slices.ContainsFunc(r.files, func(f *file) bool { return filepath.Clean(f.name) == name }) {
		return r.errorf(line, "$INCLUDE %s: the file includes itself", quote(name))
	}
	origin := f.origin
	if len(arguments) > 1 {
		var err error
		if origin, err = dnswire.ParseName(arguments[1].text, f.origin); err != nil {
			return r.wrap(line, "$INCLUDE with origin "+quote(arguments[1].text), err)
		}
	}
	content, err := r.config.Open(name)
	if err != nil {
		return r.wrap(line, "$INCLUDE", err)
	}
	r.includes++
	r.push(name, content, content.Close, origin, f.owner)
	return nil
}
