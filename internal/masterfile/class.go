package masterfile

import (
	"strconv"
	"strings"

	"github.com/gsstsig/coredns-gsstsig/internal/dnswire"
)

// parseClass reads a class (RFC 1035 section 3.2.4, RFC 2136) or CLASSn (RFC
// 3597).
func parseClass(text string) (uint16, bool) {
	switch upper := strings.ToUpper(text); upper {
	case "IN":
		return dnswire.ClassIN, true
	case "CH", "CHAOS":
		return dnswire.ClassCH, true
	case "HS", "HESIOD":
		return dnswire.ClassHS, true
	case "NONE":
		return dnswire.ClassNONE, true
	case "ANY":
		return dnswire.ClassANY, true
	default:
		digits, ok := strings.CutPrefix(upper, "CLASS")
		if !ok || !isNumber(digits) {
			return 0, false
		}
		n, err := strconv.ParseUint(digits, 10, 16)
		return uint16(n), err == nil
	}
}
