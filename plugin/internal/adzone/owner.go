package adzone

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/gsstsig/coredns-gsstsig/internal/msdtyp"
)

// sidsInFilter is how many SIDs one search looks up.
const sidsInFilter = 50

// Bits of userAccountControl ([MS-ADTS] 2.2.16).
const (
	serverTrustAccount    = 0x2000    // a domain controller
	partialSecretsAccount = 0x4000000 // one that is read-only
)

// accounts are the owners of nodes, by their SID in binary form.
type accounts map[string]account

// account is who owns nodes.
type account struct {
	name string // sAMAccountName; "" if the nodes are the administrator's
	// unknown tells that the domain has no such account.
	unknown bool
	sid     string
}

// lookUp looks up the SIDs of the domain's accounts. Nodes of others are the administrator's.
func (d *directory) lookUp(found accounts) error {
	var sids []string
	for sid := range found {
		text, err := msdtyp.SID([]byte(sid))
		if err != nil {
			return err
		}
		found[sid] = account{sid: text}
		if isAccount(text) {
			found[sid] = account{sid: text, unknown: true}
			sids = append(sids, sid)
		}
	}
	slices.Sort(sids)
	for part := range slices.Chunk(sids, sidsInFilter) {
		var filter strings.Builder
		filter.WriteString("(|")
		for _, sid := range part {
			filter.WriteString("(objectSid=" + escapeOctets([]byte(sid)) + ")")
		}
		filter.WriteString(")")
		entries, err := d.search(d.domain, ldap.ScopeWholeSubtree, filter.String(), nil,
			"objectSid", "objectClass", "sAMAccountName", "userAccountControl", "adminCount")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			sid := string(entry.GetEqualFoldRawAttributeValue("objectSid"))
			a, ok := found[sid]
			if !ok {
				continue
			}
			a.unknown = false
			if !isAdministrative(entry) {
				a.name = entry.GetEqualFoldAttributeValue("sAMAccountName")
			}
			found[sid] = a
		}
	}
	return nil
}

// firstAccount is the least relative identifier of what an administrator creates in a domain ([MS-ADTS] 6.1.1.2.6): below it are
// the accounts and groups that every domain has, such as Administrator and Domain Admins.
const firstAccount = 1000

// isAccount reports whether a SID is one of a domain, and not one that every domain or every machine has.
func isAccount(sid string) bool {
	if !strings.HasPrefix(sid, "S-1-5-21-") {
		return false
	}
	rid, err := strconv.ParseUint(sid[strings.LastIndexByte(sid, '-')+1:], 10, 32)
	return err == nil && rid >= firstAccount
}

// isAdministrative reports whether the names of an account are the administrator's: it is a group, a domain controller, or a
// member of the groups that directory protects (adminCount).
func isAdministrative(entry *ldap.Entry) bool {
	control, err := strconv.ParseInt(entry.GetEqualFoldAttributeValue("userAccountControl"), 10, 64)
	return err != nil || // of a group
		control&(serverTrustAccount|partialSecretsAccount) != 0 ||
		entry.GetEqualFoldAttributeValue("adminCount") == "1" ||
		entry.GetEqualFoldAttributeValue("sAMAccountName") == "" ||
		slices.ContainsFunc(entry.GetEqualFoldAttributeValues("objectClass"), func(class string) bool { return strings.EqualFold(class, "group") })
}
