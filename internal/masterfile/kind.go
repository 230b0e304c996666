package masterfile

import "strings"

// startOctets is how much of a file tells its kind.
const startOctets = 4

// kinds are the files that are taken for master files by mistake, by what they begin with.
var kinds = []struct{ start, reason string }{
	{"\x00\x00\x00\x02", "file is in BIND's raw format, in which a secondary server writes its zones. " +
		"Fix: make a text of it, by named-compilezone -f raw -F text -o TEXT ZONE FILE"},
	{"\x1f\x8b", "file is compressed. Fix: expand it by gunzip"},
	{"\xff\xfe", "file is in UTF-16, as PowerShell writes it. Fix: save it as UTF-8 without a byte order mark"},
	{"\xfe\xff", "file is in UTF-16. Fix: save it as UTF-8 without a byte order mark"},
	{"\xef\xbb\xbf", "file begins with a UTF-8 byte order mark. Fix: save it without one"},
	{"{\n", "file is JSON. Fix: make the dump without -o json"},
	{"{\r\n", "file is JSON. Fix: make the dump without -o json"},
	{"{\"", "file is JSON. Fix: make the dump without -o json"},
}

// otherKind says what a file is that begins so, if it is no master file, or is empty.
func otherKind(start []byte) string {
	for _, kind := range kinds {
		if strings.HasPrefix(string(start[:min(len(start), startOctets)]), kind.start) {
			return kind.reason
		}
	}
	return ""
}
